"""What is asked of a query: a number for each example, from the model's outputs and the target."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from influence.objective import Objective

Measure = Callable[[Tensor, Tensor], Tensor]  # outputs [B, C] and targets [B, ...] -> [B], each example alone
MeasurementName = Literal["loss", "margin", "log-odds"]
Measurement = MeasurementName | Measure


@dataclass(frozen=True)
class Logit:
    """The output of one class, whatever the target.

    Attributes:
        index: the class, from 0 on.

    Raises:
        ValueError: the index is negative, or when measured there is no such output.
    """

    index: int

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f"a logit is named by its class, from 0 on, not {self.index}")

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.index >= outputs.shape[-1]:
            raise ValueError(f"there is no logit {self.index}: the model has {outputs.shape[-1]} outputs")
        return outputs[..., self.index]


def resolve_measurement(measurement: Measurement, objective: Objective) -> Measure:
    """The function of outputs [B, C] and targets [B, ...] -> [B] that a measurement stands for.

    Args:
        measurement: `loss`, in nats; `margin`, in units of the outputs; `log-odds` of the target, in nats; `Logit(k)`;
            or any function that treats each example alone.
        objective: says what loss, margin and log-odds are. One that has no margin or states no probabilities raises
            TypeError when it is measured.

    Raises:
        ValueError: the name is unknown.
        TypeError: it is neither a name nor a function.
    """
    match measurement:
        case "loss":
            return objective.loss
        case "margin":
            return objective.margin
        case "log-odds":
            return objective.log_odds
    names = ", ".join(get_args(MeasurementName))
    if isinstance(measurement, str):
        raise ValueError(f"measurement is one of {names}, Logit(class) or a function, not {measurement!r}")
    if not callable(measurement):
        raise TypeError(
            f"measurement is one of {names}, Logit(class) or a function, not {type(measurement).__name__} "
            f"{measurement!r}"
        )
    return measurement
