"""What holds of every objective, against automatic differentiation."""

import pytest
import torch
from objective_cases import EXAMPLES, Coupled, Saddle, cases, draw
from oracle import relative_error
from torch import Tensor

from influence.objective import Objective, SoftmaxCrossEntropy

CASES = cases()


def hessians(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor:
    """[B, C, C], one example at a time."""

    def loss(output: Tensor, row: int) -> Tensor:
        return objective.loss(output.unsqueeze(0), targets[row : row + 1])[0]

    found = [torch.autograd.functional.hessian(lambda at, i=i: loss(at, i), outputs[i]) for i in range(len(outputs))]
    return torch.stack(found)


def outer(columns: Tensor) -> Tensor:
    return torch.einsum("lbc,lbd->bcd", columns, columns)


@pytest.mark.parametrize("name", CASES)
def test_products_and_roots_are_those_of_the_hessian(name: str) -> None:
    case = CASES[name]
    truth = hessians(case.objective, case.outputs, case.targets)
    vectors = draw(2, 4, EXAMPLES, case.classes, seed=6)
    product = case.objective.output_hessian_product(case.outputs, case.targets, vectors)
    assert relative_error(product, torch.einsum("bcd,ijbd->ijbc", truth, vectors)) <= 1e-12
    roots = case.objective.root_columns(case.outputs, case.targets)
    assert roots.shape[1:] == case.outputs.shape
    assert relative_error(outer(roots), truth) <= 1e-12


@pytest.mark.parametrize("name", CASES)
def test_what_is_known_in_closed_form_is_what_follows_from_the_loss(name: str) -> None:
    case = CASES[name]
    vectors = draw(3, EXAMPLES, case.classes, seed=6)
    closed = case.objective.output_hessian_product(case.outputs, case.targets, vectors)
    assert (
        relative_error(closed, Objective.output_hessian_product(case.objective, case.outputs, case.targets, vectors))
        <= 1e-12
    )
    closed = case.objective.root_columns(case.outputs, case.targets)
    assert (
        relative_error(outer(closed), outer(Objective.root_columns(case.objective, case.outputs, case.targets)))
        <= 1e-12
    )


@pytest.mark.parametrize("name", CASES)
def test_sampled_columns_sum_to_the_hessian_in_expectation(name: str) -> None:
    case, repeats = CASES[name], 4000
    outputs, targets = case.outputs.repeat(repeats, 1), torch.cat([case.targets] * repeats)
    columns = case.objective.sampled_columns(outputs, targets, 2, torch.Generator().manual_seed(0))
    assert columns.shape == (2, *outputs.shape)
    estimate = outer(columns).unflatten(0, (repeats, EXAMPLES)).mean(dim=0)
    assert relative_error(estimate, hessians(case.objective, case.outputs, case.targets)) <= 0.03


@pytest.mark.parametrize("name", CASES)
def test_half_precision_gives_numbers_of_its_own_kind(name: str) -> None:
    case = CASES[name]
    targets = case.targets.bfloat16() if case.targets.is_floating_point() else case.targets
    for found in (
        case.objective.loss(case.outputs.bfloat16(), targets),
        case.objective.root_columns(case.outputs.bfloat16(), targets),
    ):
        assert found.dtype == torch.bfloat16 and bool(found.isfinite().all())


@pytest.mark.parametrize("name", CASES)
def test_an_example_is_not_touched_by_the_others(name: str) -> None:
    case = CASES[name]
    part = slice(2, 3)
    for method in ("loss", "root_columns"):
        whole = getattr(case.objective, method)(case.outputs, case.targets)
        alone = getattr(case.objective, method)(case.outputs[part], case.targets[part])
        assert relative_error(alone, whole[..., part, :] if whole.dim() == 3 else whole[part]) <= 1e-12


def test_a_loss_that_is_not_convex_has_no_root_and_is_not_clipped() -> None:
    outputs, targets = draw(4, 2, seed=1), torch.zeros(4)
    vectors = draw(3, 4, 2, seed=2)
    product = Saddle().output_hessian_product(outputs, targets, vectors)
    assert torch.allclose(product, vectors * torch.tensor([1.0, -1.0], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"Saddle is not convex in the outputs.*eigenvalue -1 .*curvature='hessian'"):
        Saddle().root_columns(outputs, targets)


def test_a_hessian_that_overflows_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="the Hessian of Coupled in the outputs is not finite"):
        Coupled().root_columns(torch.full((2, 3), 1e4), torch.zeros(2, 3))


@pytest.mark.parametrize("decay_biases", [False, True])
def test_regularisation_and_its_gradient_honour_biases(decay_biases: bool) -> None:
    objective = SoftmaxCrossEntropy(weight_decay=0.3, decay_biases=decay_biases)
    parameters = {"layer.weight": torch.tensor([[3.0, 4.0]]), "layer.bias": torch.tensor([2.0])}
    assert float(objective.regularisation(parameters)) == pytest.approx(0.15 * (25 + 4 * decay_biases))
    assert objective.decays("layer.bias") == decay_biases
    expected = torch.func.grad(objective.regularisation)(parameters)
    found = objective.regularisation_gradient(parameters)
    assert found.keys() == parameters.keys()
    assert all(torch.allclose(found[name], expected[name]) for name in parameters)
    assert bool(found["layer.bias"].any()) == decay_biases


def test_without_decay_or_without_weights_nothing_is_regularised() -> None:
    bias = {"bias": torch.ones(2)}
    assert float(SoftmaxCrossEntropy(weight_decay=1.0).regularisation(bias)) == 0.0
    assert float(SoftmaxCrossEntropy().regularisation({"weight": torch.ones(2)})) == 0.0


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"weight_decay must not be negative, got -1"):
        SoftmaxCrossEntropy(weight_decay=-1)
    with pytest.raises(TypeError, match="Coupled has no margin"):
        Coupled().margin(torch.ones(1, 2), torch.zeros(1))
    with pytest.raises(TypeError, match="Coupled states no probabilities, and so no log-odds"):
        Coupled().log_odds(torch.ones(1, 2), torch.zeros(1))
