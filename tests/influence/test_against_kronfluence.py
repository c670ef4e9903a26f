"""kronfluence as an independent oracle of the factored curvatures and the scores through them, its own fit included."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from kronfluence import Analyzer, FactorArguments, ScoreArguments, Task, prepare_model
from layer_checks import randn, randomised
from oracle import relative_error
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from influence import Influence, SoftmaxCrossEntropy
from influence.inverse_curvature import Curvature

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # its own, of torch.cuda.amp

CLASSES, EXAMPLES, QUERIES, DAMPING = 3, 24, 4, 0.02


class CrossEntropy(Task):
    """Cross-entropy of inputs, labels and weights."""

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        assert not sample
        inputs, targets, weights = batch
        return (weights * F.cross_entropy(model(inputs), targets, reduction="none")).sum()

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


def models() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    return {
        "mlp": (
            nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 3)),
            (5,),
        ),
        "convolutions": (
            nn.Sequential(
                nn.Conv2d(2, 4, 3, stride=2, padding=1),
                nn.Tanh(),
                nn.Conv2d(4, 3, 2, bias=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(12, 3),
            ),
            (2, 6, 6),
        ),
        "sequence": (nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3)), (5, 3)),
    }


def data_set(inputs: Tensor, targets: Tensor) -> TensorDataset:
    return TensorDataset(inputs, targets, inputs.new_ones(len(inputs)))


def every_label(model: nn.Module, inputs: Tensor) -> TensorDataset:
    """Each example once with every label, weighted so that the mean of outer products is the expectation over labels.

    kronfluence draws labels from the model. Here it is given all of them, so that both sides fit the same thing: the
    gradient at label l has the weight sqrt(C p_l), its outer product C p_l, and the mean is over C times as many items.
    """
    with torch.no_grad():
        probabilities = model(inputs).softmax(dim=1)
    labels = torch.arange(CLASSES).repeat(len(inputs))
    return TensorDataset(inputs.repeat_interleave(CLASSES, dim=0), labels, (CLASSES * probabilities).sqrt().flatten())


def scores_of_kronfluence(
    model: nn.Module,
    strategy: str,
    train: tuple[Tensor, Tensor],
    queries: tuple[Tensor, Tensor],
    folder: Path,
) -> tuple[Tensor, Tensor]:
    """Pairwise [Q, N] and self-influence [N] of a model that is spoilt by it, without the 1 / n."""
    dtype = train[0].dtype
    factors = FactorArguments(
        strategy,
        use_empirical_fisher=True,  # that is, the labels that it is given
        activation_covariance_dtype=dtype,
        gradient_covariance_dtype=dtype,
        per_sample_gradient_dtype=dtype,
        lambda_dtype=dtype,
    )
    scores = ScoreArguments(DAMPING, per_sample_gradient_dtype=dtype, precondition_dtype=dtype, score_dtype=dtype)
    labels, task = every_label(model, train[0]), CrossEntropy()
    analyzer = Analyzer("test", prepare_model(model, task), task, cpu=True, disable_tqdm=True, output_dir=str(folder))
    analyzer.fit_all_factors("factors", labels, per_device_batch_size=16, factor_args=factors)
    analyzer.compute_pairwise_scores(
        "pairwise", "factors", data_set(*queries), data_set(*train), QUERIES, 10, score_args=scores
    )
    analyzer.compute_self_scores("self", "factors", data_set(*train), 10, score_args=scores)
    pairwise, own = analyzer.load_pairwise_scores("pairwise"), analyzer.load_self_scores("self")
    assert pairwise is not None and own is not None
    return pairwise["all_modules"], own["all_modules"]


@pytest.mark.parametrize(
    ("name", "curvature", "dtype"),
    [
        ("mlp", "ekfac", torch.float64),
        ("convolutions", "ekfac", torch.float64),
        ("sequence", "ekfac", torch.float64),
        ("mlp", "kfac", torch.float64),
        ("mlp", "diagonal", torch.float64),
        ("convolutions", "ekfac", torch.float32),
    ],
)
def test_scores_are_those_of_kronfluence(name: str, curvature: Curvature, dtype: torch.dtype, tmp_path: Path) -> None:
    model, shape = models()[name]
    model, targets = randomised(model).to(dtype), torch.arange(EXAMPLES) % CLASSES
    train = (randn(EXAMPLES, *shape).to(dtype), targets)
    queries = (randn(QUERIES, *shape, seed=5).to(dtype), targets[1 : QUERIES + 1])
    engine = Influence(model, SoftmaxCrossEntropy(), train, curvature, damping=DAMPING)
    pairwise, own = EXAMPLES * engine.pairwise(queries), EXAMPLES * engine.self_influence()

    theirs, theirs_own = scores_of_kronfluence(model, curvature, train, queries, tmp_path)
    accuracy = 1e-10 if dtype == torch.float64 else 1e-4
    assert relative_error(pairwise, theirs) <= accuracy
    assert relative_error(own, theirs_own) <= accuracy
