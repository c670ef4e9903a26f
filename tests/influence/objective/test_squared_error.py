import pytest
import torch

from influence.objective import SquaredError

SQUARED = SquaredError()


def test_it_is_half_the_squared_distance_of_each_example() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[1.0, 0.0], [3.0, -1.0]])
    assert SQUARED.loss(outputs, targets).tolist() == [2.0, 4.5]


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_one_output_takes_targets_with_one_column_or_none(dtype: torch.dtype) -> None:
    outputs, targets = torch.tensor([1.0, 4.0, -2.0]), torch.tensor([0, 4, 1], dtype=dtype)
    for given_outputs in (outputs, outputs.unsqueeze(1)):
        for given_targets in (targets, targets.unsqueeze(1)):
            found = SQUARED.loss(given_outputs, given_targets)
            assert found.tolist() == [0.5, 0.0, 4.5] and found.dtype == torch.float32


@pytest.mark.parametrize("shape", [(3, 3), (1,), (3, 2), ()])
def test_targets_are_never_spread_over_the_outputs(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a target for every output, not outputs \[3, 1\] and targets"):
        SQUARED.loss(torch.zeros(3, 1), torch.zeros(shape))
