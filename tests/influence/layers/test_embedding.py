import pytest
import torch
from layer_checks import check, classifier, randomised, tokens
from torch import Tensor, nn

from influence.layers import PerExampleGradients
from influence.layers.rule import find_rule
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem


@pytest.mark.parametrize("padding_idx", [None, 0, -1])
@pytest.mark.parametrize("positions", [(), (4,), (2, 3)])
def test_it_is_exact_with_repeated_tokens_and_padding(positions: tuple[int, ...], padding_idx: int | None) -> None:
    inputs = tokens(6, *positions, entries=5)
    gradients = check(classifier(nn.Embedding(5, 2, padding_idx=padding_idx), inputs), inputs, {"3"}, {"0"})
    if padding_idx is not None:
        rest = gradients.read_columns(inputs, torch.zeros(6, dtype=torch.int64), limit=3).rest["0.weight"]
        assert not rest[:, :, padding_idx].any() and rest.any()


def test_indices_may_be_of_32_bits() -> None:
    inputs = tokens(6, 4, entries=5).int()
    check(classifier(nn.Embedding(5, 2), inputs), inputs, {"3"}, {"0"})


def test_a_table_with_sparse_gradients_is_read_as_a_dense_one() -> None:
    inputs = tokens(6, 4, entries=5)
    readings = []
    for sparse in (True, False):
        problem = Problem(classifier(nn.Embedding(5, 2, sparse=sparse), inputs), SoftmaxCrossEntropy())
        gradients = PerExampleGradients(problem, inputs[:2])
        assert [layer.name for layer in gradients.direct] == ["0"]
        readings.append(gradients.read_columns(inputs, torch.zeros(6, dtype=torch.int64)).rest["0.weight"])
    assert torch.equal(*readings)


def test_positions_looked_up_without_a_batch_are_left_to_vmap() -> None:
    class Positions(nn.Module):
        """Its two positions are as many as the examples of the probe."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.last = nn.Embedding(5, 2), nn.Embedding(2, 2), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            places = self.places(torch.arange(inputs.shape[1]))
            output: Tensor = self.last(torch.tanh(self.words(inputs) + places).flatten(1))
            return output

    check(randomised(Positions()), tokens(6, 2, entries=5), {"last"}, {"words"})


def test_a_table_tied_to_the_output_layer_is_left_to_vmap() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.inner, self.last = nn.Embedding(3, 2), nn.Linear(2, 2), nn.Linear(2, 3, bias=False)
            self.last.weight = self.words.weight

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.last(torch.tanh(self.inner(self.words(inputs)).sum(dim=1)))
            return output

    check(randomised(Tied()), tokens(6, 4, entries=3), {"inner"})


def test_tables_that_lookups_change_or_gradients_that_counts_scale_have_no_rule() -> None:
    assert find_rule(nn.Embedding(5, 2)) is not None
    assert find_rule(nn.Embedding(5, 2, max_norm=1.0)) is None
    assert find_rule(nn.Embedding(5, 2, scale_grad_by_freq=True)) is None
