import pytest
import torch
from convex import objective_of
from torch import Tensor

from influence.objective import BinaryCrossEntropy, Objective, SoftmaxCrossEntropy
from influence.problem import TensorData
from influence.retraining import full_gradient
from influence.retraining.top_layer import Replacement, TopLayer, outputs
from influence.vectors import norm, select

EXAMPLES, WIDTH = 40, 5


def examples(kind: str) -> tuple[Objective, Tensor, Tensor, int]:
    """An objective with one minimum, features, targets, and how many outputs a model of them has."""
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(EXAMPLES, WIDTH, generator=generator, dtype=torch.float64)
    noisy = features @ torch.randn(WIDTH, 3, generator=generator, dtype=torch.float64)
    objective, targets, width = objective_of(kind, noisy + torch.randn(noisy.shape, generator=generator).double())
    if isinstance(objective, SoftmaxCrossEntropy):
        objective = SoftmaxCrossEntropy(objective.weight_decay, decay_biases=True)
    return objective, features, targets, width


def changes(features: Tensor, targets: Tensor) -> Replacement:
    """Three sets of two examples each, with features far from theirs, and one label changed."""
    generator = torch.Generator().manual_seed(9)
    positions = torch.tensor([[3, 17], [0, 39], [20, 21]])
    new_features = features[positions] + torch.randn(3, 2, WIDTH, generator=generator, dtype=torch.float64)
    new_targets = targets[positions].clone()
    new_targets[1, 0] = targets[targets != new_targets[1, 0]][0]
    return Replacement(positions, new_features, new_targets)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["logistic", "softmax", "least squares"])
def test_retraining_finds_the_minimum_of_the_changed_examples(kind: str, bias: bool) -> None:
    objective, features, targets, width = examples(kind)
    top = TopLayer(objective, features, targets, width, bias)
    replacement = changes(features, targets)
    found = top.retrain(replacement)
    for row in range(3):
        new_features, new_targets = features.clone(), targets.clone()
        new_features[replacement.positions[row]] = replacement.features[row]
        new_targets[replacement.positions[row]] = replacement.targets[row]
        truth = TopLayer(objective, new_features, new_targets, width, bias)
        for name, value in truth.problem.parameters.items():
            torch.testing.assert_close(found[name][row], value, rtol=0, atol=1e-7)
            assert float((value - top.problem.parameters[name]).abs().max()) > 1e-3  # the changes did matter


def test_it_starts_at_the_minimum_and_examples_left_as_they_are_keep_it_there() -> None:
    objective, features, targets, width = examples("softmax")
    top = TopLayer(objective, features, targets, width)
    assert float(norm(full_gradient(top.problem, TensorData(features, targets)))) <= 1e-9
    positions = torch.tensor([[1, 2]])
    same = top.retrain(Replacement(positions, features[positions], targets[positions]))
    for name, value in top.problem.parameters.items():
        assert torch.equal(same[name][0], value)


def test_where_it_starts_and_what_else_is_retrained_does_not_matter() -> None:
    objective, features, targets, width = examples("logistic")
    top = TopLayer(objective, features, targets, width)
    replacement = changes(features, targets)
    together = top.retrain(replacement)
    elsewhere = {name: value + 0.3 for name, value in select(together, torch.tensor([2])).items()}
    alone = top.retrain(replacement.select(torch.tensor([2])), elsewhere)
    for name, value in alone.items():
        torch.testing.assert_close(value[0], together[name][2], rtol=0, atol=1e-7)


def test_outputs_are_those_of_the_layer() -> None:
    objective, features, targets, width = examples("softmax")
    top = TopLayer(objective, features, targets, width)
    expected = top.problem.outputs(top.problem.parameters, features)
    torch.testing.assert_close(outputs(top.parameters(2), features), expected.expand(2, -1, -1))


def test_features_that_are_not_vectors_are_named() -> None:
    with pytest.raises(ValueError, match=r"features of 4 targets are \[4, D\], not \[4, 2, 3\]: flatten them"):
        TopLayer(BinaryCrossEntropy(0.1), torch.zeros(4, 2, 3), torch.tensor([0, 1, 0, 1]), 1)
