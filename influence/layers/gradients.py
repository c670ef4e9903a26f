"""Per-example gradients of any model: by layer rules where they hold, by vmap for the remaining parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.func import vjp, vmap

from influence.layers.cotangents import label_columns, loss_cotangents
from influence.layers.groups import merge_groups
from influence.layers.recording import AnyLayer, DirectLayer, Layer, Recording, find_layers
from influence.layers.rule import to_matrix
from influence.problem import Problem
from influence.vectors import Vectors


@dataclass(frozen=True)
class LayerGradients:
    """Gradients of one layer, factored: for cotangent l and example i, sum_t g[l, i, t] a[i, t]^T.

    Attributes:
        activations: [B, T, in (+ 1)], with a 1 appended where the layer has a bias.
        gradients: [L, B, T, out].
    """

    activations: Tensor
    gradients: Tensor

    def matrices(self) -> Tensor:
        """The gradients themselves, [L, B, out, in (+ 1)]."""
        return torch.einsum("lbto,bti->lboi", self.gradients, self.activations)


@dataclass(frozen=True)
class Readings:
    """What one batch tells of its examples: outputs, and gradients of cotangents^T outputs, [L, B] of them.

    Attributes:
        outputs: [B, C].
        layers: by layer name.
        rest: gradients of the parameters without a rule of outer products, {name: [L, B, *shape]}.
    """

    outputs: Tensor
    layers: dict[str, LayerGradients]
    rest: Vectors


class PerExampleGradients:
    """Reads per-example gradients of a problem's outputs, batch by batch.

    On construction every rule is checked against automatic differentiation, example by example on a probe batch, so a
    rule never changes an answer: a layer whose module is not called as a module (as in fused attention), is called
    with its batch folded away or not in front, or shares its weight, is left to vmap.

    Args:
        problem: the model and its objective.
        probe: a few inputs [B, ...], B >= 2, of the kind the model sees.

    Attributes:
        layers: those read as outer products.
        direct: those whose gradients are written down directly.
        rest: names of the parameters outside `layers`: those of `direct`, and those left to vmap.
    """

    def __init__(self, problem: Problem, probe: Tensor) -> None:
        self.problem = problem
        confirmed = self._confirmed(list(find_layers(problem)), probe)
        self.layers = [layer for layer in confirmed if isinstance(layer, Layer)]
        self.direct = [layer for layer in confirmed if isinstance(layer, DirectLayer)]
        covered = _parameters(self.layers)
        self.rest = [name for name in problem.parameters if name not in covered]
        self._unruled = [name for name in self.rest if name not in _parameters(self.direct)]

    def read(
        self, inputs: Tensor, cotangents: Tensor | None = None, targets: Tensor | None = None, limit: int = 32
    ) -> Readings:
        """Gradients for every example of a batch.

        Args:
            inputs: [B, ...].
            cotangents: what multiplies the outputs, [L, B, C]; None: the gradient of the loss at `targets` (L = 1),
                or, without targets, the columns of `label_columns`.
            targets: [B].
            limit: number of labels up to which the expectation over labels is exact.
        """
        ruled: list[AnyLayer] = [*self.layers, *self.direct]
        recording = Recording(self.problem, ruled, inputs)
        outputs = recording.outputs.detach()
        if cotangents is None:
            cotangents = (
                loss_cotangents(self.problem, outputs, targets)
                if targets is not None
                else label_columns(self.problem, outputs, limit)
            )
        grads = recording.gradients(cotangents)
        for used in ruled:
            if not _keeps_examples_apart(used, recording.calls[used.name], len(inputs)):
                raise RuntimeError(f"layer {used.name!r} was used in another way than on the probe batch")
        layers = {layer.name: _factored(layer, recording.calls[layer.name], grads[layer.name]) for layer in self.layers}
        rest = self._by_vmap(inputs, cotangents)
        for direct in self.direct:
            rest |= _direct(direct, recording.calls[direct.name], grads[direct.name])
        return Readings(outputs, layers, {name: rest[name] for name in self.rest})

    def _confirmed(self, candidates: list[AnyLayer], probe: Tensor) -> list[AnyLayer]:
        """The layers whose rule gives the gradients of every example of the probe."""
        problem = self.problem
        recording = Recording(problem, candidates, probe)
        generator = torch.Generator().manual_seed(0)
        shape, dtype = recording.outputs.shape, recording.outputs.dtype
        cotangent = torch.randn(shape, generator=generator, dtype=dtype).to(recording.outputs.device)
        grads = recording.gradients(cotangent.unsqueeze(0))
        pull = vjp(lambda parameters: problem.outputs(parameters, probe), problem.parameters)[1]
        alone = torch.eye(len(probe), dtype=dtype, device=cotangent.device)
        truths = [pull(cotangent * example.unsqueeze(1))[0] for example in alone]
        return [
            layer
            for layer in candidates
            if _keeps_examples_apart(layer, recording.calls[layer.name], len(probe))
            and _agrees(layer, recording.calls[layer.name], grads[layer.name], truths)
        ]

    def _by_vmap(self, inputs: Tensor, cotangents: Tensor) -> Vectors:
        """Gradients of the parameters without any rule, {name: [L, B, *shape]}."""
        if not self._unruled:
            return {}
        problem = self.problem
        chosen = {name: problem.parameters[name] for name in self._unruled}
        fixed = {name: value for name, value in problem.parameters.items() if name not in chosen}

        def of_example(example: Tensor, cotangent: Tensor) -> Vectors:
            pull = vjp(lambda part: problem.outputs({**fixed, **part}, example.unsqueeze(0))[0], chosen)[1]
            return vmap(lambda column: pull(column)[0])(cotangent)

        gradients: Vectors = vmap(of_example, in_dims=(0, 1), out_dims=1)(inputs, cotangents)
        return gradients


def _parameters(layers: Sequence[AnyLayer]) -> set[str | None]:
    return {name for layer in layers for name in (layer.weight, layer.bias)}


def _keeps_examples_apart(layer: AnyLayer, calls: list[Tensor], batch: int) -> bool:
    """Whether the layer is called at all, and every call has the examples along its first axis."""
    return bool(calls) and all(call.dim() >= layer.rule.input_dims and len(call) == batch for call in calls)


def _factored(layer: Layer, calls: list[Tensor], grads: list[Tensor]) -> LayerGradients:
    """All calls of the layer as more positions."""
    rule, module = layer.rule, layer.module
    groups = rule.groups(module)
    activations = _joined([rule.activations(module, call).unflatten(1, (groups, -1)) for call in calls], dim=2)
    gradients = _joined([rule.gradients(module, gradient) for gradient in grads], dim=2)
    if layer.bias is not None:
        activations = torch.cat([activations, activations.new_ones(*activations.shape[:3], 1)], dim=3)
    return LayerGradients(*merge_groups(activations, gradients))


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    """One after the other; a single part is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _direct(layer: DirectLayer, calls: list[Tensor], grads: list[Tensor]) -> Vectors:
    """Gradients of the layer's parameters, summed over its calls, {full name: [L, B, *shape]}."""
    found = [layer.rule.gradients(layer.module, call, gradient) for call, gradient in zip(calls, grads, strict=True)]
    named = {"weight": layer.weight} if layer.bias is None else {"weight": layer.weight, "bias": layer.bias}
    return {name: reduce(torch.add, [part[own] for part in found]) for own, name in named.items()}


def _agrees(layer: AnyLayer, calls: list[Tensor], grads: list[Tensor], truths: list[Vectors]) -> bool:
    """Whether the rule's gradients (L = 1) are the true ones of every example."""
    names = [name for name in (layer.weight, layer.bias) if name is not None]
    expected = {name: torch.stack([truth[name].to_dense() for truth in truths]) for name in names}
    if isinstance(layer, DirectLayer):
        found = _direct(layer, calls, grads)
        return all(_close(found[name][0], expected[name]) for name in names)
    bias = expected[layer.bias] if layer.bias is not None else None
    return _close(_factored(layer, calls, grads).matrices()[0], to_matrix(expected[layer.weight], bias))


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()) + 1e-12)
