import pytest
import torch
from layer_checks import check, classifier, randn
from torch import Tensor, nn


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("positions", [(), (4,), (2, 3)])
def test_it_is_exact_at_any_number_of_positions(positions: tuple[int, ...], bias: bool) -> None:
    inputs = randn(5, *positions, 3)
    check(classifier(nn.Linear(3, 2, bias=bias), inputs), inputs, {"0", "3"})


@pytest.mark.parametrize("length", [2, 4])
def test_positions_in_front_of_the_batch_are_not_taken_for_examples(length: int) -> None:
    """At length 2 the positions are as many as the examples of the probe."""

    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = nn.Linear(3, 2), nn.Linear(2, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.last(torch.tanh(self.inner(inputs.transpose(0, 1))).sum(dim=0))
            return output

    check(SequenceFirst().double(), randn(5, length, 3), {"last"})


def test_an_input_passed_by_name_is_read() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.last(input=inputs)
            return output

    check(ByName().double(), randn(5, 4), {"last"})


def test_a_call_without_a_batch_is_left_to_vmap() -> None:
    """Its input of two numbers is as long as the probe."""

    class Hyper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.made, self.last = nn.Linear(2, 4), nn.Linear(4, 3)
            self.register_buffer("code", torch.tensor([0.5, -1.0]))

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.last(torch.tanh(inputs * self.made(self.code)))
            return output

    check(Hyper().double(), randn(5, 4), {"last"})
