"""The gradient index: exact where it keeps everything, and what it loses where it does not, in float64."""

import pytest
import torch
from layer_checks import randn
from oracle import make_problem, networks, relative_error
from torch import Tensor, nn

from influence.curvature import EKFAC, fit_ekfac
from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.scores import Compressed, LeadingCoordinates, Pairwise, recall

SHIFT = 0.2
ALL = 10**6


def fitted(name: str) -> tuple[EKFAC, TensorData, TensorData]:
    problem, data = make_problem(name)
    ekfac = fit_ekfac(PerExampleGradients(problem, data.inputs[:2]), data)
    return ekfac, data, TensorData(data.inputs[:3] + 0.1, 2 - data.targets[:3])


@pytest.fixture(scope="module")
def classifier() -> tuple[EKFAC, TensorData, TensorData]:
    """Pictures in classes that overlap, and a network of a convolution and a linear layer."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).double()
    targets = torch.arange(400) % 3
    inputs = randn(400, 1, 6, 6) + 0.5 * randn(3, 1, 6, 6)[targets]
    problem, data = Problem(model, SoftmaxCrossEntropy(weight_decay=0.03)), TensorData(inputs, targets)
    ekfac = fit_ekfac(PerExampleGradients(problem, inputs[:2]), data)
    return ekfac, data, TensorData(inputs[:20] + 0.3, (targets[:20] + 1) % 3)


def exact(ekfac: EKFAC, data: TensorData, queries: TensorData) -> Tensor:
    right = as_vectors(ekfac.gradients, ekfac.gradients.read(queries.inputs, targets=queries.targets))
    return Pairwise(ekfac.gradients, ekfac.power(right, -1.0, SHIFT), len(data)).batch(data.inputs, data.targets)


def indexed(
    ekfac: EKFAC, data: TensorData, queries: TensorData, size: int, dtype: torch.dtype = torch.float64, batch: int = 7
) -> Tensor:
    coordinates = LeadingCoordinates(ekfac, SHIFT, size)
    asked = ekfac.gradients.read(queries.inputs, targets=queries.targets)
    x, offsets = coordinates.of(asked), coordinates.offset(asked)
    parts = [
        Compressed.of(coordinates.of(ekfac.gradients.read(inputs, targets=targets)), dtype)
        for inputs, targets in data.batches(batch)
    ]
    return torch.cat([part.scores(x, offsets, len(data)) for part in parts], dim=1)


def recalled(scores: Tensor, truth: Tensor, k: int = 20) -> float:
    return float(recall(scores.topk(k).indices, truth.topk(k).indices).mean())


@pytest.mark.parametrize("name", networks())
def test_an_index_of_all_coordinates_is_exact(name: str) -> None:
    """Whether read by rules or by vmap, used once or many times, with a bias or without."""
    ekfac, data, queries = fitted(name)
    assert LeadingCoordinates(ekfac, SHIFT, ALL).share == pytest.approx(1.0)
    assert relative_error(indexed(ekfac, data, queries, ALL), exact(ekfac, data, queries)) <= 1e-10


def test_the_error_falls_and_the_recall_rises_with_the_size(classifier: tuple[EKFAC, TensorData, TensorData]) -> None:
    truth = exact(*classifier)
    sizes = [4, 16, 64, 128]
    found = [indexed(*classifier, size) for size in sizes]
    shares = [LeadingCoordinates(classifier[0], SHIFT, size).share for size in sizes]
    errors, recalls = [relative_error(scores, truth) for scores in found], [recalled(scores, truth) for scores in found]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]
    assert recalls == sorted(recalls) and recalls[0] < 0.8 < 0.95 < recalls[-1]
    assert shares == sorted(shares) and 0 < shares[0] < shares[-1] < 1


def test_leading_coordinates_beat_as_many_drawn_at_random(classifier: tuple[EKFAC, TensorData, TensorData]) -> None:
    ekfac, data, queries = classifier
    coordinates = LeadingCoordinates(ekfac, SHIFT, ALL)
    x, asked = (coordinates.of(ekfac.gradients.read(part.inputs, targets=part.targets)) for part in (data, queries))
    truth, kept = exact(*classifier), 32
    chances = []
    for seed in range(5):
        drawn = torch.randperm(coordinates.size, generator=torch.Generator().manual_seed(seed))[:kept]
        chances.append(recalled(asked[:, drawn] @ x[:, drawn].T, truth))
    assert recalled(indexed(*classifier, kept), truth) > max(chances) + 0.1


@pytest.mark.parametrize(("dtype", "error"), [(torch.int8, 2e-2), (torch.float16, 2e-3), (torch.float32, 1e-6)])
def test_rounding_costs_little(
    classifier: tuple[EKFAC, TensorData, TensorData], dtype: torch.dtype, error: float
) -> None:
    truth = exact(*classifier)
    scores = indexed(*classifier, ALL, dtype)
    assert 0 < relative_error(scores, truth) < error
    assert recalled(scores, truth) > 0.97


def test_the_batch_changes_nothing(classifier: tuple[EKFAC, TensorData, TensorData]) -> None:
    first, second = (indexed(*classifier, 32, torch.int8, batch) for batch in (1, 400))
    assert relative_error(first, second) <= 1e-12


def test_gradients_of_any_length_survive_rounding() -> None:
    rows = randn(4, 9) * torch.tensor([[1e-30], [1.0], [1e30], [0.0]], dtype=torch.float64)
    for dtype, error in ((torch.int8, 0.5 / 127), (torch.float16, 1e-3)):
        kept = Compressed.of(rows, dtype)
        back = kept.values.double() * kept.scales.unsqueeze(1)
        assert ((back - rows).abs() <= error * rows.abs().amax(dim=1, keepdim=True) + 1e-300).all()


def test_recall_is_the_share_found() -> None:
    top = torch.tensor([[0, 1, 2], [3, -1, -1], [-1, -1, -1]])
    found = torch.tensor([[2, 9, 0], [-1, 4, 5], [1, 2, 3]])
    assert recall(found, top).tolist() == pytest.approx([2 / 3, 0.0, 1.0])


def test_what_is_impossible_is_said(classifier: tuple[EKFAC, TensorData, TensorData]) -> None:
    with pytest.raises(ValueError, match="one coordinate or more, not 0"):
        LeadingCoordinates(classifier[0], SHIFT, 0)
    with pytest.raises(ValueError, match=r"holds one of torch.int8, .*, not torch.int32"):
        Compressed.of(torch.ones(1, 1), torch.int32)
