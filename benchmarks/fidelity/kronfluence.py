"""kronfluence's EK-FAC, with its own defaults but for the damping."""

import copy
import logging
import tempfile
from typing import Any

import torch
import torch.nn.functional as F
from kronfluence import Analyzer, ScoreArguments, Task, prepare_model
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.fidelity.methods import Method, Setting
from influence.measurement import resolve_measurement

FIT_BATCH, TRAIN_BATCH = 128, 500


class MeasuredTask(Task):
    """A protocol's loss and measurement."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.objective = setting.protocol.objective
        self.measure = resolve_measurement(setting.protocol.measurement, self.objective)
        self.classifies = setting.protocol.classifies

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        inputs, targets = batch
        outputs = model(inputs)
        if not sample:
            return self.objective.loss(outputs, targets).sum()
        if self.classifies:
            return F.cross_entropy(outputs, outputs.detach().softmax(dim=-1).multinomial(1).flatten(), reduction="sum")
        drawn = outputs.detach() + torch.randn_like(outputs)  # the squared error is a Gaussian's of unit variance
        return 0.5 * F.mse_loss(outputs, drawn, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        inputs, targets = batch
        return self.measure(model(inputs), targets).sum()


def kronfluence_ekfac(damping: float) -> Method:
    """Scores by kronfluence at this damping; weight decay, which it does not know, is added to it."""

    def method(setting: Setting) -> Tensor:
        task = MeasuredTask(setting)
        train = TensorDataset(setting.train.inputs, setting.train.targets)
        queries = TensorDataset(setting.queries.inputs, setting.queries.targets)
        with tempfile.TemporaryDirectory() as folder:
            analyzer = Analyzer(
                "model",
                prepare_model(copy.deepcopy(setting.model), task),
                task,
                cpu=True,
                log_level=logging.ERROR,
                disable_tqdm=True,
                disable_model_save=True,
                output_dir=folder,
            )
            analyzer.fit_all_factors("factors", train, per_device_batch_size=FIT_BATCH)
            analyzer.compute_pairwise_scores(
                "pairwise",
                "factors",
                query_dataset=queries,
                train_dataset=train,
                per_device_query_batch_size=len(queries),
                per_device_train_batch_size=TRAIN_BATCH,
                score_args=ScoreArguments(damping_factor=damping + setting.decay),
            )
            loaded: Any = analyzer.load_pairwise_scores("pairwise")
        scores: Tensor = loaded["all_modules"]
        return -scores

    return method
