"""What goes into the layers of a model during a pass, and the gradients of what comes out of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from influence.layers.rule import DirectRule, Rule, find_rule
from influence.problem import Problem

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Tensor], Tensor]


@dataclass(frozen=True)
class _RuledLayer:
    name: str
    module: nn.Module
    weight: str  # full parameter names
    bias: str | None


@dataclass(frozen=True)
class Layer(_RuledLayer):
    """A module whose parameters a rule of outer products covers."""

    rule: Rule


@dataclass(frozen=True)
class DirectLayer(_RuledLayer):
    """A module whose parameters a direct rule covers."""

    rule: DirectRule


AnyLayer = Layer | DirectLayer


def find_layers(problem: Problem) -> Iterator[AnyLayer]:
    """Modules with a rule, whose weight is theta's and belongs to no other module."""
    names = {id(parameter): name for name, parameter in problem.model.named_parameters()}
    owners: dict[str, int] = {}
    for module in problem.model.modules():
        for parameter in module.parameters(recurse=False):
            owners[names[id(parameter)]] = owners.get(names[id(parameter)], 0) + 1
    for module_name, module in problem.model.named_modules():
        rule = find_rule(module)
        if rule is None or not isinstance(module.weight, nn.Parameter):
            continue
        weight = names[id(module.weight)]
        bias = getattr(module, "bias", None)
        bias_name = names[id(bias)] if isinstance(bias, nn.Parameter) else None
        if weight not in problem.parameters or owners[weight] > 1 or (bias_name and owners[bias_name] > 1):
            continue
        own_bias = bias_name if bias_name in problem.parameters else None
        if isinstance(rule, Rule):
            yield Layer(module_name, module, weight, own_bias, rule)
        else:
            yield DirectLayer(module_name, module, weight, own_bias, rule)


class Recording:
    """One pass of a batch through a model.

    Args:
        problem: the model.
        layers: those whose calls are recorded.
        inputs: [B, ...].

    Attributes:
        outputs: [B, C].
        calls: what went into each layer, by its name, one tensor a call.
    """

    def __init__(self, problem: Problem, layers: list[AnyLayer], inputs: Tensor) -> None:
        self.calls: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
        # Zeros added to what comes out of each call, to differentiate by.
        self._zeros: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
        with _hooked([(layer.module, self._hook(layer.name)) for layer in layers]), torch.enable_grad():
            self.outputs = problem.outputs(problem.parameters, inputs)

    def gradients(self, cotangents: Tensor) -> dict[str, list[Tensor]]:
        """Gradients of cotangents^T outputs by what came out of each call, [L, B, ...], from cotangents [L, B, C].

        May be called again: the pass is kept.
        """
        flat = [zero for zeros in self._zeros.values() for zero in zeros]
        if not flat:
            return {name: [] for name in self._zeros}
        grads = iter(
            gradient if gradient is not None else zero.new_zeros(len(cotangents), *zero.shape)
            for gradient, zero in zip(self._pulled(flat, cotangents), flat, strict=True)
        )
        return {name: [next(grads) for _ in zeros] for name, zeros in self._zeros.items()}

    def _pulled(self, flat: list[Tensor], cotangents: Tensor) -> list[Tensor | None]:
        if len(cotangents) == 1:  # vmap would only add its own cost, which is large for convolutions
            alone = torch.autograd.grad(self.outputs, flat, cotangents[0], retain_graph=True, allow_unused=True)
            return [None if gradient is None else gradient.unsqueeze(0) for gradient in alone]
        options = {"retain_graph": True, "allow_unused": True, "is_grads_batched": True}
        return list(torch.autograd.grad(self.outputs, flat, cotangents, **options))

    def _hook(self, name: str) -> Hook:
        def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            zero = torch.zeros_like(output, requires_grad=True)
            entered: Tensor = args[0] if args else next(iter(kwargs.values()))
            self.calls[name].append(entered.detach())
            self._zeros[name].append(zero)
            return output + zero

        return record


@contextmanager
def _hooked(pairs: list[tuple[nn.Module, Hook]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module, hook in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
