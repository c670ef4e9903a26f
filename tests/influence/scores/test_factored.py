"""Scores in the eigenbases, exact and of low rank, against those from EK-FAC's solutions, in float64."""

import pytest
import torch
from layer_checks import randn
from oracle import make_problem, networks, relative_error
from torch import Tensor, nn

from influence.curvature import EKFAC, fit_ekfac
from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.scores import FactoredPairwise, Pairwise, low_rank_error

SHIFT = 0.2
FULL = 1000  # more terms than any layer has


def fitted(name: str) -> tuple[EKFAC, TensorData, TensorData]:
    problem, data = make_problem(name)
    ekfac = fit_ekfac(PerExampleGradients(problem, data.inputs[:2]), data)
    return ekfac, data, TensorData(data.inputs[:3] + 0.1, 2 - data.targets[:3])


def wide(layer: nn.Module, inputs: Tensor) -> tuple[EKFAC, TensorData, TensorData]:
    """A classifier with one large layer in front, whose scores are worth approximating."""
    torch.manual_seed(5)
    model = nn.Sequential(layer, nn.Flatten(), nn.Tanh(), nn.LazyLinear(3)).double()
    model(inputs)
    targets = torch.arange(len(inputs)) % 3
    problem, data = Problem(model, SoftmaxCrossEntropy(weight_decay=0.03)), TensorData(inputs, targets)
    ekfac = fit_ekfac(PerExampleGradients(problem, inputs[:2]), data)
    return ekfac, data, TensorData(inputs[:4] + 0.1, 2 - targets[:4])


def exact(ekfac: EKFAC, data: TensorData, queries: TensorData, shift: float = SHIFT) -> Tensor:
    right = as_vectors(ekfac.gradients, ekfac.gradients.read(queries.inputs, targets=queries.targets))
    return Pairwise(ekfac.gradients, ekfac.power(right, -1.0, shift), len(data)).batch(data.inputs, data.targets)


def factored(
    ekfac: EKFAC, data: TensorData, queries: TensorData, rank: int | None, size: int = 2, shift: float = SHIFT
) -> FactoredPairwise:
    readings = (ekfac.gradients.read(*batch[:1], targets=batch[1]) for batch in queries.batches(size))
    return FactoredPairwise(ekfac, shift, readings, len(data), rank)


MLP = (nn.Linear(30, 20), randn(40, 30))
CONVOLUTION = (nn.Conv2d(12, 16, 3), randn(20, 12, 3, 4))  # two positions


@pytest.mark.parametrize("name", networks())
def test_what_is_not_cheaper_stays_exact(name: str) -> None:
    """All these networks are small: no layer gains, whether read by rules or by vmap."""
    ekfac, data, queries = fitted(name)
    scores = factored(ekfac, data, queries, rank=FULL)
    assert scores.approximated == []
    assert relative_error(scores.batch(data.inputs, data.targets), exact(ekfac, data, queries)) <= 1e-10


@pytest.mark.parametrize("examples", [1, 10**6])
@pytest.mark.parametrize("name", networks())
def test_without_a_rank_it_is_exact_whichever_side_is_rotated(name: str, examples: int) -> None:
    ekfac, data, queries = fitted(name)
    readings = [ekfac.gradients.read(queries.inputs, targets=queries.targets)]
    found = FactoredPairwise(ekfac, SHIFT, readings, examples).batch(data.inputs, data.targets)
    assert relative_error(found * examples / len(data), exact(ekfac, data, queries)) <= 1e-10


@pytest.mark.parametrize(("layer", "inputs", "rank"), [(*MLP, 20), (*CONVOLUTION, 16)])
def test_at_full_rank_it_is_exact(layer: nn.Module, inputs: Tensor, rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("influence.scores.factored._low_rank_is_cheaper", lambda layer, rank: True)
    ekfac, data, queries = wide(layer, inputs)
    scores = factored(ekfac, data, queries, rank)
    assert scores.approximated == ["0", "3"]
    assert relative_error(scores.batch(data.inputs, data.targets), exact(ekfac, data, queries)) <= 1e-10


@pytest.mark.parametrize("name", ["sequence", "shared module", "attention", "layer norm", "learned scale"])
def test_layers_used_several_times_and_parameters_without_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("influence.scores.factored._low_rank_is_cheaper", lambda layer, rank: True)
    ekfac, data, queries = fitted(name)
    scores = factored(ekfac, data, queries, FULL)
    assert scores.approximated
    assert relative_error(scores.batch(data.inputs, data.targets), exact(ekfac, data, queries)) <= 1e-10


@pytest.mark.parametrize(("layer", "inputs"), [MLP, CONVOLUTION])
def test_more_terms_come_nearer_and_the_error_is_the_true_one(layer: nn.Module, inputs: Tensor) -> None:
    ekfac, data, queries = wide(layer, inputs)
    shift = 0.01 * ekfac.mean_eigenvalue()
    truth = exact(ekfac, data, queries, shift)
    before = 1.0
    for rank in (1, 3):
        scores = factored(ekfac, data, queries, rank, shift=shift)
        assert "0" in scores.approximated
        found = scores.batch(data.inputs, data.targets)
        error = low_rank_error(found, truth, rank)
        for query, (own, true) in enumerate(zip(found, truth, strict=True)):
            assert float(error.pearson[query]) == pytest.approx(float(torch.corrcoef(torch.stack([own, true]))[0, 1]))
            assert float(error.relative[query]) == pytest.approx(float((own - true).norm() / true.norm()))
        assert (error.rank, error.examples) == (rank, len(data))
        assert float(error.relative.mean()) < before
        before = float(error.relative.mean())


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize(("layer", "inputs"), [MLP, CONVOLUTION])
def test_batches_of_examples_and_queries_do_not_matter(layer: nn.Module, inputs: Tensor, rank: int | None) -> None:
    ekfac, data, queries = wide(layer, inputs)
    whole = factored(ekfac, data, queries, rank, size=4).batch(data.inputs, data.targets)
    parts = factored(ekfac, data, queries, rank, size=1)
    assert relative_error(torch.cat([parts.batch(*batch) for batch in data.batches(3)], dim=1), whole) <= 1e-12


def test_the_regularisation_is_exact_at_any_rank() -> None:
    """Raising an example's share by the regularisation's gradient raises its scores by exactly what that is worth."""
    ekfac, data, queries = wide(*MLP)
    bare = Problem(ekfac.gradients.problem.model, SoftmaxCrossEntropy())
    without = EKFAC(PerExampleGradients(bare, data.inputs[:2]), ekfac.layers, ekfac.rest)
    raised = factored(ekfac, data, queries, 1).batch(data.inputs, data.targets)
    raised = raised - factored(without, data, queries, 1).batch(data.inputs, data.targets)
    assert relative_error(raised, exact(ekfac, data, queries) - exact(without, data, queries)) <= 1e-9


def test_bad_arguments_are_named() -> None:
    ekfac, data, queries = fitted("logistic")
    with pytest.raises(ValueError, match="one term or more, not 0"):
        factored(ekfac, data, queries, 0)
    with pytest.raises(ValueError, match="there is no query"):
        FactoredPairwise(ekfac, SHIFT, [], len(data))
