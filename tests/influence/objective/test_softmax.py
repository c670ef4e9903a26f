import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from influence.objective import SoftmaxCrossEntropy

SOFTMAX = SoftmaxCrossEntropy()


def outputs_and_targets(seed: int, batch: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    return outputs, torch.randint(classes, (batch,), generator=generator)


def expected_squares(outputs: Tensor) -> Tensor:
    """E[g g^T] over labels drawn from the model, g the gradient of the loss at the label, [B, C, C]."""
    probabilities = outputs.softmax(dim=1)
    gradients = probabilities.unsqueeze(1) - torch.eye(outputs.shape[1], dtype=outputs.dtype)  # [B, label, C]
    return torch.einsum("bl,blc,bld->bcd", probabilities, gradients, gradients)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 999), batch=st.integers(1, 5), classes=st.integers(1, 6), scale=st.sampled_from([1, 30, 1e4])
)
def test_columns_are_the_expectation_over_labels_with_one_column_fewer(
    seed: int, batch: int, classes: int, scale: float
) -> None:
    outputs, targets = outputs_and_targets(seed, batch, classes)
    columns = SOFTMAX.root_columns(scale * outputs, targets)
    assert columns.shape == (max(1, classes - 1), batch, classes)
    found = torch.einsum("lbc,lbd->bcd", columns, columns)
    truth = expected_squares(scale * outputs)
    assert torch.allclose(found, truth, rtol=1e-12, atol=1e-15 * float(truth.max()))


def test_squares_of_columns_keep_their_relative_accuracy_where_a_label_is_all_but_certain() -> None:
    outputs = torch.tensor([[0.0, 40.0, 3.0, -5.0], [60.0, 0.0, 1.0, 2.0]])
    found = SOFTMAX.root_columns(outputs, torch.tensor([1, 0])).double().square().sum(dim=0)
    truth = expected_squares(outputs.double()).diagonal(dim1=1, dim2=2)
    assert torch.allclose(found, truth, rtol=1e-5, atol=0.0)


def test_sampled_columns_are_gradients_at_single_labels() -> None:
    outputs, targets = outputs_and_targets(0, 5, 4)
    columns = SOFTMAX.sampled_columns(outputs, targets, 3, torch.Generator().manual_seed(0))
    drawn = outputs.softmax(dim=1) - 3**0.5 * columns  # one-hot rows
    assert torch.allclose(drawn, torch.nn.functional.one_hot(drawn.argmax(dim=-1), 4).double(), atol=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), batch=st.integers(1, 6), classes=st.integers(2, 6))
def test_the_margin_is_the_lead_over_the_best_other_label(seed: int, batch: int, classes: int) -> None:
    outputs, targets = outputs_and_targets(seed, batch, classes)
    expected = [
        float(row[target] - max(value for index, value in enumerate(row) if index != target))
        for row, target in zip(outputs.tolist(), targets.tolist(), strict=True)
    ]
    assert SOFTMAX.margin(outputs, targets).tolist() == pytest.approx(expected)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), batch=st.integers(1, 6), classes=st.integers(2, 6))
def test_log_odds_are_those_of_the_targets_probability(seed: int, batch: int, classes: int) -> None:
    outputs, targets = outputs_and_targets(seed, batch, classes)
    probability = outputs.softmax(dim=1)[torch.arange(batch), targets]
    assert torch.allclose(SOFTMAX.log_odds(outputs, targets), (probability / (1 - probability)).log())


def test_log_odds_stay_exact_where_probabilities_round_to_one() -> None:
    outputs = torch.tensor([[200.0, 0.0, 0.0]])
    assert float(SOFTMAX.log_odds(outputs, torch.tensor([0]))) == pytest.approx(200 - 0.6931472)


def test_the_loss_is_minus_log_of_the_probability_for_each_example() -> None:
    outputs, targets = outputs_and_targets(0, 4, 3)
    expected = -outputs.softmax(dim=1)[torch.arange(4), targets].log()
    assert torch.allclose(SOFTMAX.loss(outputs, targets), expected)
