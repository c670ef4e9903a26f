"""Training sets of every form, and what is refused with a sentence."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from influence import Influence, SoftmaxCrossEntropy
from influence.datasets import DatasetData, as_data
from influence.problem import Data, TensorData

INPUTS = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(11) % 2


class Made(Dataset[Any]):
    """Examples that a function makes of their position."""

    def __init__(self, make: Callable[[int], Any], length: int = 11) -> None:
        self.make, self.length = make, length

    def __getitem__(self, index: int) -> Any:
        return self.make(index)

    def __len__(self) -> int:
        return self.length


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield INPUTS[0], 0


class Unmeasured(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return INPUTS[index], 0


PAIRS = Made(lambda index: (INPUTS[index], int(TARGETS[index])))
STORED = TensorDataset(INPUTS, TARGETS)

FORMS: dict[str, Any] = {
    "tensors": (INPUTS, TARGETS),
    "data": TensorData(INPUTS, TARGETS),
    "tensor dataset": STORED,
    "pairs": PAIRS,
    "numpy": Made(lambda index: (INPUTS[index].numpy(), np.int64(TARGETS[index]))),
    "subset": Subset(STORED, list(range(11))),
    "concatenated": ConcatDataset([Subset(STORED, [0, 1, 2]), TensorDataset(INPUTS[3:], TARGETS[3:])]),
}


@pytest.mark.parametrize("size", [1, 4, 11, 100])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_in_order_again_and_again(form: str, size: int) -> None:
    data = as_data(FORMS[form])
    assert len(data) == 11
    for _ in range(2):
        batches = list(data.batches(size))
        assert [len(inputs) for inputs, _ in batches] == [min(size, 11 - start) for start in range(0, 11, size)]
        assert torch.equal(torch.cat([inputs for inputs, _ in batches]), INPUTS)
        assert torch.equal(torch.cat([targets for _, targets in batches]), TARGETS)


def test_tensors_are_not_read_one_by_one_and_data_is_left_as_it_is() -> None:
    assert isinstance(as_data(STORED), TensorData)
    assert isinstance(as_data(PAIRS), DatasetData)
    data = TensorData(INPUTS, TARGETS)
    assert as_data(data) is data


def test_regression_targets_keep_their_shape() -> None:
    data = as_data(Made(lambda index: (INPUTS[index], INPUTS[index][:2])))
    _, targets = next(iter(data.batches(4)))
    assert torch.equal(targets, INPUTS[:4, :2])


def test_influence_of_a_dataset_is_that_of_its_tensors() -> None:
    torch.manual_seed(0)
    model, queries = nn.Linear(3, 2), (INPUTS[:2], TARGETS[:2])
    first, second = (
        Influence(model, SoftmaxCrossEntropy(0.1), as_data(FORMS[form]), solver="direct", damping=0.1).pairwise(queries)
        for form in ("tensors", "subset")
    )
    assert torch.equal(first, second)


def test_nothing_to_read_is_for_the_caller_to_refuse() -> None:
    assert len(as_data(Made(PAIRS.make, length=0))) == 0


def test_missing_values_are_the_same_each_time() -> None:
    assert len(as_data(Made(lambda index: (torch.tensor([torch.nan]), index)))) == 11


def flipped(index: int) -> Any:
    return INPUTS[index] * (1 if torch.rand(()) < 0.5 else -1), 0


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (DataLoader(STORED), TypeError, r"train is a DataLoader, which may shuffle: pass .* such as `loader\.dataset`"),
    (Endless(), TypeError, r"IterableDataset, whose examples have no order.* map-style dataset of pairs"),
    (Unmeasured(), TypeError, "train has no length: pass two tensors"),
    (INPUTS, TypeError, "train is of type Tensor: pass two tensors"),
    ({"x": INPUTS}, TypeError, "train is of type dict: pass two tensors"),
    ((INPUTS,), TypeError, "train holds Tensor: pass two tensors"),
    ((INPUTS, [0, 1]), TypeError, "train holds Tensor, list: pass two tensors"),
    ((INPUTS.numpy(), TARGETS.numpy()), TypeError, "train holds ndarray, ndarray: pass two tensors"),
    ([], TypeError, "train holds nothing: pass two tensors"),
    ((INPUTS, TARGETS[:3]), ValueError, r"inputs \[11, 3\] and targets \[3\]: they must be as many"),
    ((INPUTS, torch.tensor(1)), ValueError, r"inputs \[11, 3\] and targets \[\]"),
    (Made(flipped), ValueError, "inputs of the first examples differ when they are read twice.*take the random"),
    (Made(lambda index: (INPUTS[index], torch.rand(()))), ValueError, "targets of the first examples differ"),
    (
        Made(lambda index: {"x": INPUTS[index], "y": 0}),
        TypeError,
        r"example 0 of the dataset is a dict of 2, not a pair",
    ),
    (Made(lambda index: (INPUTS[index], 0, 1)), TypeError, "is a tuple of 3, not a pair"),
    (Made(lambda index: INPUTS[index]), TypeError, "is a Tensor of 3, not a pair"),
    (
        Made(lambda index: (object(), 0)),
        TypeError,
        r"examples 0 to 10 of the dataset do not become tensors .*transforms",
    ),
    (Made(lambda index: (INPUTS[index], "cat")), TypeError, "targets of examples 0 to 10 .* become .*, not a tensor"),
    (Made(lambda index: (torch.zeros(index), 0)), ValueError, "do not fit in one batch .* give them one shape"),
]


@pytest.mark.parametrize(("train", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_is_refused_with_a_sentence(train: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_data(train)


def test_data_of_ones_own_that_shuffles_is_refused() -> None:
    class Shuffled(TensorData):
        def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            order = torch.randperm(len(self))
            return TensorData(self.inputs[order], self.targets[order]).batches(size, device)

    data: Data = Shuffled(INPUTS, TARGETS)
    with pytest.raises(ValueError, match="inputs of the first examples differ"):
        as_data(data)
