"""A model at its trained parameters, as pure functions of those parameters, with the objective it was trained on."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from influence.objective import Objective


class Data(Protocol):
    """Examples that can be read again and again, in the same order, in batches of any size."""

    def __len__(self) -> int: ...

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs [B, ...] and targets [B, ...], `size` at a time, on the device."""
        ...


@dataclass(frozen=True)
class TensorData:
    """Examples held in two tensors: inputs [N, ...] and targets [N, ...]."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, size: int, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.inputs[part].to(device), self.targets[part].to(device)


class Problem:
    """A model in evaluation mode and its objective.

    Args:
        model: maps inputs [B, ...] to outputs [B, C], or [B]. It is put in evaluation mode: influence is defined for a
            deterministic function of the parameters.
        objective: what the model was trained on.
        parameters: names of the parameters that count as theta; None: all that require a gradient.

    Raises:
        ValueError: there is no parameter of such a name, or none at all.
    """

    def __init__(self, model: nn.Module, objective: Objective, parameters: Collection[str] | None = None) -> None:
        self.model, self.objective = model.eval(), objective
        named = dict(model.named_parameters())
        if parameters is None:
            chosen = [name for name, parameter in named.items() if parameter.requires_grad]
        else:
            if unknown := sorted(set(parameters) - set(named)):
                raise ValueError(f"the model has no parameter {unknown[0]!r}; it has {', '.join(named)}")
            chosen = [name for name in named if name in set(parameters)]
        if not chosen:
            raise ValueError("the model has no parameter that requires a gradient")
        self.parameters = {name: named[name].detach() for name in chosen}
        self._frozen = {name: value.detach() for name, value in named.items() if name not in self.parameters}
        self._places = _places(model, named)

    @property
    def device(self) -> torch.device:
        return next(iter(self.parameters.values())).device

    @property
    def dtype(self) -> torch.dtype:
        return next(iter(self.parameters.values())).dtype

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters.values())

    def outputs(self, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """The model's outputs at these parameters, [B, C]; where it gives one number an example, [B, 1].

        Raises:
            TypeError: the model returns something other than a tensor.
            ValueError: the tensor is not one row an example.
        """
        with _differentiable_attention():
            outputs = functional_call(self.model, self._placed(parameters), (inputs,), tie_weights=False)
        return _rows(outputs, len(inputs))

    def _placed(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        values = {**self._frozen, **parameters}
        return {place: values[name] for place, name in self._places.items()}

    def loss(self, parameters: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each example at these parameters, [B], without regularisation."""
        return self.objective.loss(self.outputs(parameters, inputs), targets)

    def regularisation_gradient(self) -> dict[str, Tensor]:
        """Gradient of the regularisation at the trained parameters."""
        return self.objective.regularisation_gradient(self.parameters)


def _places(model: nn.Module, named: dict[str, nn.Parameter]) -> dict[str, str]:
    """Where each parameter is held, {path: its name}: a shared one in several places, each place once.

    Left to itself, `functional_call` reaches a module registered under two names twice, and then does not give it its
    parameters back.
    """
    names = {id(parameter): name for name, parameter in named.items()}
    return {
        f"{path}.{attribute}" if path else attribute: names[id(parameter)]
        for path, module in model.named_modules()
        for attribute, parameter in module.named_parameters(recurse=False, remove_duplicate=False)
    }


def _rows(outputs: object, examples: int) -> Tensor:
    """Outputs as [B, C]. One number an example may come as [B], and of a single example with no dimension at all."""
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the model returns {type(outputs).__name__}, not a tensor of outputs [B, C]: wrap it in a module that does"
        )
    if outputs.dim() < 2 and outputs.numel() == examples:
        return outputs.reshape(examples, 1)
    if outputs.dim() != 2 or len(outputs) != examples:
        raise ValueError(
            f"the model's outputs for {examples} inputs are of shape {list(outputs.shape)}, not [{examples}, C]: wrap "
            "it in a module that gives one row an example"
        )
    return outputs


@contextmanager
def _differentiable_attention() -> Iterator[None]:
    """Keep attention off the fused kernels, which know no forward-mode derivative and no batching rule."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
