"""The objective against automatic differentiation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from influence.objective import Objective, SoftmaxCrossEntropy

SOFTMAX = SoftmaxCrossEntropy()


def outputs_and_targets(seed: int, batch: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(classes, (batch,), generator=generator)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), batch=st.integers(1, 5), classes=st.integers(2, 6))
def test_label_gradients_and_the_output_hessian(seed: int, batch: int, classes: int) -> None:
    outputs, targets = outputs_and_targets(seed, batch, classes)
    probabilities, gradients = SOFTMAX.label_gradients(outputs)
    assert torch.allclose(probabilities, outputs.softmax(dim=1))
    vectors = torch.randn(3, batch, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for row in range(batch):

        def loss(output: Tensor, target: Tensor) -> Tensor:
            return SOFTMAX.loss(output[None], target[None])[0]

        for label in range(classes):
            expected = torch.func.grad(loss)(outputs[row], torch.tensor(label))
            assert torch.allclose(gradients[row, label], expected, atol=1e-12)
        hessian = torch.func.hessian(loss)(outputs[row], targets[row])
        mean = torch.einsum("l,lc,ld->cd", probabilities[row], gradients[row], gradients[row])
        assert torch.allclose(mean, hessian, atol=1e-12)
        for product in (SOFTMAX.output_hessian_product, super(SoftmaxCrossEntropy, SOFTMAX).output_hessian_product):
            assert torch.allclose(product(outputs, vectors)[:, row], vectors[:, row] @ hessian, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), batch=st.integers(1, 6), classes=st.integers(2, 6))
def test_the_margin_is_the_lead_over_the_best_other_label(seed: int, batch: int, classes: int) -> None:
    outputs, targets = outputs_and_targets(seed, batch, classes)
    expected = [
        float(row[target] - max(value for index, value in enumerate(row) if index != target))
        for row, target in zip(outputs.tolist(), targets.tolist(), strict=True)
    ]
    assert SOFTMAX.margin(outputs, targets).tolist() == pytest.approx(expected)


def test_the_loss_is_minus_log_of_the_probability_for_each_example() -> None:
    outputs, targets = outputs_and_targets(0, 4, 3)
    expected = -outputs.softmax(dim=1)[torch.arange(4), targets].log()
    assert torch.allclose(SOFTMAX.loss(outputs, targets), expected)


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
    assert float(SOFTMAX.regularisation({"weight": torch.ones(2)})) == 0.0


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"weight_decay must not be negative, got -1"):
        SoftmaxCrossEntropy(weight_decay=-1)

    class Plain(Objective):
        def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs[:, 0]

        def label_gradients(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
            raise AssertionError("not asked for")

    with pytest.raises(TypeError, match="Plain has no margin"):
        Plain().margin(torch.ones(1, 2), torch.zeros(1))
