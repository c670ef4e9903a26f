"""The state of a training run after an epoch: what a killed run goes on from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from tasks.digest import KEY, digest
from tasks.errors import UserError
from tasks.tensors import read_tensors, write_tensors


@dataclass(frozen=True)
class EpochResult:
    """What an epoch ended with: mean losses in nats, without regularisation, and shares right."""

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class TrainingState:
    """A training run after its last finished epoch, all tensors on the CPU.

    Attributes:
        weights: the model's state: parameters and buffers.
        best_weights: the same after the epoch of least validation loss.
        optimizer: the optimizer's tensors, named `<parameter's number>.<what>`.
        margins: margin of every training example's label after each epoch, float32 [epochs, N].
        history: results of the epochs so far.
    """

    weights: dict[str, Tensor]
    best_weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    margins: Tensor
    history: list[EpochResult] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The first epoch of least validation loss; 0 before the first has ended."""
        return min(self.history, key=lambda result: result.validation_loss).epoch if self.history else 0


def save_state(path: Path, state: TrainingState) -> None:
    """Write the state as one safetensors file, whole or not at all."""
    tensors = {"margins": state.margins}
    for group in ("weights", "best_weights", "optimizer"):
        tensors |= {f"{group}/{name}": tensor for name, tensor in getattr(state, group).items()}
    history = [asdict(result) for result in state.history]
    write_tensors(path, tensors, {"history": history, KEY: digest(tensors)})


def load_state(path: Path) -> TrainingState | None:
    """Read a state; None where there is none, or only a damaged one, which is reported."""
    if not path.exists():
        return None
    try:
        tensors, metadata = read_tensors(path)
        if digest(tensors) != metadata.get(KEY):
            raise UserError("its content has changed since it was written")
    except UserError as error:
        print(f"train: starting again, because the saved state is damaged: {error}", flush=True)
        return None
    return TrainingState(
        **{group: _group(tensors, group) for group in ("weights", "best_weights", "optimizer")},
        margins=tensors["margins"],
        history=[EpochResult(**result) for result in metadata["history"]],
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors; what is not a tensor is decided by its parameters."""
    return {
        f"{number}.{key}": value
        for number, entries in optimizer.state_dict()["state"].items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _group(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    prefix = f"{group}/"
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
