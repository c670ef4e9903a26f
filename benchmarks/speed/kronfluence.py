"""kronfluence's jobs: `python -m benchmarks.speed.kronfluence JOB FOLDER --examples N`.

With its own defaults: EK-FAC factors with labels drawn from the model, one an example, in float32. What it fits it
writes to disk and reads again; that is a few MiB here and part of its jobs.
"""

import logging
from typing import Any

import torch.nn.functional as F
from kronfluence import Analyzer, ScoreArguments, Task, prepare_model
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.speed.bench import DAMPING, Bench, ModelName, run_job, scored
from benchmarks.speed.measure import Cost, measured

# Of 4 to 512 those that took it the least CPU time on 1,000 or 2,000 examples; the differences are small.
FIT_BATCH, SELF_BATCH, PAIRWISE_BATCH, QUERY_BATCH = 16, 8, 128, 125
SCORES = ScoreArguments(damping_factor=DAMPING)


class Classification(Task):
    """Cross-entropy."""

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        inputs, targets = batch
        outputs = model(inputs)
        if sample:
            targets = outputs.detach().softmax(dim=-1).multinomial(1).flatten()
        return F.cross_entropy(outputs, targets, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


def mlp_fit(bench: Bench) -> Cost:
    analyzer, train = _analyzer(bench, "mlp"), _data(bench.train())
    return measured(lambda: _fit(analyzer, train, overwrite=True))[1]


def mlp_self(bench: Bench) -> Cost:
    analyzer, train = _analyzer(bench, "mlp"), _data(bench.train())
    _fit(analyzer, train)
    return scored(bench, "kronfluence-mlp-self", lambda: _self(analyzer, train))


def mlp_pairwise(bench: Bench) -> Cost:
    analyzer, train, queries = _analyzer(bench, "mlp"), _data(bench.train()), _data(bench.queries())
    _fit(analyzer, train)

    def job() -> Tensor:
        analyzer.compute_pairwise_scores(
            "pairwise",
            _factors(train),
            query_dataset=queries,
            train_dataset=train,
            per_device_query_batch_size=QUERY_BATCH,
            per_device_train_batch_size=PAIRWISE_BATCH,
            score_args=SCORES,
            overwrite_output_dir=True,
        )
        return _scores(analyzer.load_pairwise_scores("pairwise"))

    return scored(bench, "kronfluence-mlp-pairwise", job)


def cnn_fit_and_self(bench: Bench) -> Cost:
    analyzer, train = _analyzer(bench, "cnn"), _data(bench.train())

    def job() -> Tensor:
        _fit(analyzer, train, overwrite=True)
        return _self(analyzer, train)

    return scored(bench, "kronfluence-cnn-fit-and-self", job)


def _analyzer(bench: Bench, name: ModelName) -> Analyzer:
    task = Classification()
    return Analyzer(
        name,
        prepare_model(bench.model(name), task),
        task,
        cpu=True,
        log_level=logging.ERROR,
        disable_tqdm=True,
        disable_model_save=True,
        output_dir=str(bench.folder / "kronfluence"),
    )


def _data(examples: tuple[Tensor, Tensor]) -> TensorDataset:
    return TensorDataset(*examples)


def _fit(analyzer: Analyzer, train: TensorDataset, overwrite: bool = False) -> None:
    """Fit the factors of these examples; unless told to overwrite, only where there are none from an earlier job."""
    analyzer.fit_all_factors(_factors(train), train, per_device_batch_size=FIT_BATCH, overwrite_output_dir=overwrite)


def _factors(train: TensorDataset) -> str:
    return f"factors-{len(train)}"


def _self(analyzer: Analyzer, train: TensorDataset) -> Tensor:
    analyzer.compute_self_scores(
        "self",
        _factors(train),
        train,
        per_device_train_batch_size=SELF_BATCH,
        score_args=SCORES,
        overwrite_output_dir=True,
    )
    return _scores(analyzer.load_self_scores("self"))


def _scores(loaded: Any) -> Tensor:
    scores: Tensor = loaded["all_modules"]
    return scores


JOBS = {
    "mlp-fit": mlp_fit,
    "mlp-self": mlp_self,
    "mlp-pairwise": mlp_pairwise,
    "cnn-fit-and-self": cnn_fit_and_self,
}

if __name__ == "__main__":
    run_job(JOBS)
