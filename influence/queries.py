"""What is asked about: examples and what is measured of them, checked before any work is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from influence.datasets import Examples, as_data
from influence.layers.cotangents import measurement_cotangents
from influence.measurement import Measure, Measurement, resolve_measurement
from influence.problem import Data, Problem, TensorData


@dataclass(frozen=True)
class Queries:
    """Q examples, and the number that is measured of each.

    Attributes:
        data: the examples.
        measure: of outputs and targets.
    """

    data: Data
    measure: Measure

    def __len__(self) -> int:
        return len(self.data)

    def blocks(self, size: int, device: torch.device) -> Iterator[tuple[slice, "Queries"]]:
        """Up to `size` of them at a time, on the device, and where they stand."""
        start = 0
        for inputs, targets in self.data.batches(size, device):
            yield slice(start, start + len(inputs)), Queries(TensorData(inputs, targets), self.measure)
            start += len(inputs)


def as_train(train: Examples | Data | Dataset[Any], problem: Problem) -> Data:
    """A training set in any accepted form, checked against the model and its objective.

    Raises:
        TypeError: see `as_data`.
        ValueError: it is empty, or the model or the objective cannot take its first example.
    """
    data = as_data(train)
    if not len(data):
        raise ValueError("the training set is empty")
    inputs, targets = next(iter(data.batches(1)))
    outputs = _outputs(problem, inputs, "the training set")
    problem.objective.check_targets(data.targets if isinstance(data, TensorData) else targets, outputs.shape[-1])
    _measured(problem.objective.loss, outputs, targets, problem, "the training set")
    return data


def as_queries(
    queries: Examples | Data | Dataset[Any], measurement: Measurement, problem: Problem, train: Data
) -> Queries:
    """Queries in any form that a training set may have, checked against the training set and the model.

    Raises:
        TypeError: see `as_data`; or the objective does not know what is measured.
        ValueError: there are none; their inputs are of another kind than the training examples'; the measurement is
            unknown, or the model or the measurement cannot take the first of them.
    """
    measure = resolve_measurement(measurement, problem.objective)
    data = as_data(queries, "the query set")
    if not len(data):
        raise ValueError("the query set is empty")
    inputs, targets = next(iter(data.batches(1)))
    example, _ = next(iter(train.batches(1)))
    if inputs.dim() != example.dim() or inputs.dtype != example.dtype:
        raise ValueError(
            f"queries are examples like those of training: inputs [Q{_shape(example)}] of {example.dtype}, not "
            f"[Q{_shape(inputs)}] of {inputs.dtype}"
        )
    outputs = _outputs(problem, inputs, "the query set")
    if isinstance(measurement, str):
        whole = data.targets if isinstance(data, TensorData) else targets
        problem.objective.check_targets(whole, outputs.shape[-1])
    _measured(measure, outputs, targets, problem, "the query set")
    return Queries(data, measure)


def _outputs(problem: Problem, inputs: Tensor, role: str) -> Tensor:
    try:
        with torch.no_grad():
            return problem.outputs(problem.parameters, inputs.to(problem.device))
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"the model cannot read the inputs of {role}, [N{_shape(inputs)}] of {inputs.dtype}, with parameters of "
            f"{problem.dtype}: {_first_line(error)}"
        ) from error


def _measured(measure: Measure, outputs: Tensor, targets: Tensor, problem: Problem, role: str) -> None:
    try:
        measurement_cotangents(measure, outputs, targets.to(problem.device))
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"what is measured of {role} cannot be computed from outputs {list(outputs.shape)} and targets "
            f"[N{_shape(targets)}] of {targets.dtype}: {_first_line(error)}"
        ) from error


def _shape(batch: Tensor) -> str:
    """The shape of one of a batch, to stand after the number of them."""
    return "".join(f", {size}" for size in batch.shape[1:])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
