"""Per-example gradients of any model: by layer rules where they hold, by vmap for the remaining parameters."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.func import vjp, vmap

from influence.determinism import check_deterministic_model
from influence.layers.cotangents import hessian_columns, measurement_cotangents
from influence.layers.groups import merge_groups
from influence.layers.recording import AnyLayer, DirectLayer, Layer, Recording, find_layers
from influence.layers.rule import to_matrix
from influence.measurement import Measurement, resolve_measurement
from influence.problem import Problem
from influence.vectors import Vectors

Activations = tuple[Tensor, Callable[[Tensor], Tensor]]  # [B, T, in (+ 1)]; gradients [L, B, ., out] -> [L, B, T, out]


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

    Raises:
        ValueError: the model is stochastic in evaluation mode.

    Attributes:
        layers: those read as outer products.
        direct: those whose gradients are written down directly.
        rest: names of the parameters outside `layers`: those of `direct`, and those left to vmap.
    """

    def __init__(self, problem: Problem, probe: Tensor) -> None:
        self.problem = problem
        check_deterministic_model(problem, probe)
        confirmed = self._confirmed(list(find_layers(problem)), probe)
        self.layers = [layer for layer in confirmed if isinstance(layer, Layer)]
        self.direct = [layer for layer in confirmed if isinstance(layer, DirectLayer)]
        covered = _parameters(self.layers)
        self.rest = [name for name in problem.parameters if name not in covered]
        self._unruled = [name for name in self.rest if name not in _parameters(self.direct)]

    def read(
        self,
        inputs: Tensor,
        cotangents: Tensor | None = None,
        targets: Tensor | None = None,
        measurement: Measurement = "loss",
    ) -> Readings:
        """Gradients for every example of a batch.

        Args:
            inputs: [B, ...].
            cotangents: what multiplies the outputs, [L, B, C]; None: the gradient of the measurement (L = 1).
            targets: [B, ...]; needed without cotangents.
            measurement: what is measured of outputs and targets.
        """
        if cotangents is not None:
            return _Pass(self, inputs).read(cotangents)
        if targets is None:
            raise TypeError("read takes cotangents, or targets at which the measurement is differentiated")
        measure = resolve_measurement(measurement, self.problem.objective)
        forward = _Pass(self, inputs)
        return forward.read(measurement_cotangents(measure, forward.outputs, targets))

    def read_columns(self, inputs: Tensor, targets: Tensor, limit: int = 32, seed: int = 0) -> Readings:
        """Gradients c_il along the columns of the output Hessian's root: sum_l c_il c_il^T is example i's share of G.

        Args:
            inputs: [B, ...].
            targets: [B, ...].
            limit: number of outputs up to which the sum is exact; beyond, it is so in expectation, with L = limit.
            seed: of the columns drawn beyond the limit.

        Raises:
            ValueError: the loss is not convex in the outputs.
        """
        forward = _Pass(self, inputs)
        return forward.read(hessian_columns(self.problem, forward.outputs, targets, limit, seed))

    def each_column(self, inputs: Tensor, targets: Tensor, limit: int = 32, seed: int = 0) -> Iterator[Readings]:
        """The same, column by column (L = 1): their number costs no memory. All share the tensors of activations."""
        forward = _Pass(self, inputs)
        for column in hessian_columns(self.problem, forward.outputs, targets, limit, seed):
            yield forward.read(column.unsqueeze(0))

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

    def by_vmap(self, inputs: Tensor, cotangents: Tensor) -> Vectors:
        """Gradients of the parameters without any rule, {name: [L, B, *shape]}."""
        if not self._unruled:
            return {}
        problem = self.problem
        chosen = {name: problem.parameters[name] for name in self._unruled}
        fixed = {name: value for name, value in problem.parameters.items() if name not in chosen}

        def of_example(example: Tensor, cotangent: Tensor) -> Vectors:
            pull = vjp(lambda part: problem.outputs({**fixed, **part}, example.unsqueeze(0))[0], chosen)[1]
            return vmap(lambda column: pull(column)[0])(cotangent)

        # Not with out_dims=1: vmap misplaces the zeros of a parameter that the outputs do not depend on.
        gradients: Vectors = vmap(of_example, in_dims=(0, 1))(inputs, cotangents)
        return {name: value.transpose(0, 1) for name, value in gradients.items()}


class _Pass:
    """A batch after its pass through the model, to be read with any cotangents [L, B, C]."""

    def __init__(self, gradients: PerExampleGradients, inputs: Tensor) -> None:
        self.gradients, self.inputs = gradients, inputs
        ruled: list[AnyLayer] = [*gradients.layers, *gradients.direct]
        self._recording = Recording(gradients.problem, ruled, inputs)
        for used in ruled:
            if not _keeps_examples_apart(used, self._recording.calls[used.name], len(inputs)):
                raise RuntimeError(f"layer {used.name!r} was used in another way than on the probe batch")
        self.outputs = self._recording.outputs.detach()
        self._activations = {
            layer.name: _activations(layer, self._recording.calls[layer.name]) for layer in gradients.layers
        }

    def read(self, cotangents: Tensor) -> Readings:
        grads = self._recording.gradients(cotangents)
        layers = {
            layer.name: _factored(layer, self._activations[layer.name], grads[layer.name])
            for layer in self.gradients.layers
        }
        rest = self.gradients.by_vmap(self.inputs, cotangents)
        for direct in self.gradients.direct:
            rest |= _direct(direct, self._recording.calls[direct.name], grads[direct.name])
        return Readings(self.outputs, layers, {name: rest[name] for name in self.gradients.rest})


def _parameters(layers: Sequence[AnyLayer]) -> set[str | None]:
    return {name for layer in layers for name in (layer.weight, layer.bias)}


def _keeps_examples_apart(layer: AnyLayer, calls: list[Tensor], batch: int) -> bool:
    """Whether the layer is called at all, and every call has the examples along its first axis."""
    return bool(calls) and all(call.dim() >= layer.rule.input_dims and len(call) == batch for call in calls)


def _activations(layer: Layer, calls: list[Tensor]) -> Activations:
    """Of all calls of the layer as more positions; and what brings its gradients to these."""
    rule, module = layer.rule, layer.module
    groups = rule.groups(module)
    activations = _joined([rule.activations(module, call).unflatten(1, (groups, -1)) for call in calls], dim=2)
    if layer.bias is not None:
        activations = torch.cat([activations, activations.new_ones(*activations.shape[:3], 1)], dim=3)
    return merge_groups(activations)


def _factored(layer: Layer, activations: Activations, grads: list[Tensor]) -> LayerGradients:
    merged, moved = activations
    gradients = _joined([layer.rule.gradients(layer.module, gradient) for gradient in grads], dim=2)
    return LayerGradients(merged, moved(gradients))


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
    factored = _factored(layer, _activations(layer, calls), grads)
    return _close(factored.matrices()[0], to_matrix(expected[layer.weight], bias))


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()) + 1e-12)
