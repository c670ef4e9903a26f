"""Rules that read one layer's gradients, example by example, and the registry that finds them.

A layer that computes y_t = W a_t + b at positions t = 1..T (T = 1 for a fully connected layer, the output pixels for a
convolution) has, for one example, the gradient

    dloss / d[W, b] = sum_t g_t [a_t, 1]^T,      g_t = dloss / dy_t.

An outer-product `Rule` gives the a_t and the g_t; everything else (per-example gradients, Kronecker factors, scores)
follows from them. A `DirectRule` gives the gradients themselves, for layers whose weight is no such matrix: element by
element (normalisations) or row by row (embeddings). Their curvature block is diagonal.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ModuleType = type[nn.Module]


def always(module: nn.Module) -> bool:
    """For rules that cover every module of their type."""
    return True


def ungrouped(module: nn.Module) -> int:
    """For layers whose outputs all see the same inputs."""
    return 1


@dataclass(frozen=True)
class Rule:
    """How a layer type is read whose gradient is a sum of outer products.

    With G groups the outputs fall into G equal runs, each seeing activations of its own: out group j at position t has
    the gradient g_jt a_jt^T.

    Attributes:
        input_dims: dimensions that an input has at least, its batch included; with fewer it holds no batch.
        activations: (module, its input [B, ...]) -> a, [B, G * T, in], group after group.
        gradients: (module, gradient of its output [..., B, *output shape]) -> g, [..., B, T, out].
        groups: G of this module.
        applies: whether this module is of the kind the rule covers exactly.
    """

    input_dims: int
    activations: Callable[[nn.Module, Tensor], Tensor]
    gradients: Callable[[nn.Module, Tensor], Tensor]
    groups: Callable[[nn.Module], int] = ungrouped
    applies: Callable[[nn.Module], bool] = always


@dataclass(frozen=True)
class DirectRule:
    """How a layer type is read whose per-example gradients are written down directly.

    Attributes:
        input_dims: dimensions that an input has at least, its batch included; with fewer it holds no batch.
        gradients: (module, its input [B, ...], gradient of its output [L, B, *output shape]) -> gradients by the
            parameter's name in the module, {"weight": [L, B, *shape], ...}; those of parameters it lacks are ignored.
        applies: whether this module is of the kind the rule covers exactly.
    """

    input_dims: int
    gradients: Callable[[nn.Module, Tensor, Tensor], dict[str, Tensor]]
    applies: Callable[[nn.Module], bool] = always


_RULES: dict[ModuleType, Rule | DirectRule] = {}


def register(layer_type: ModuleType, rule: Rule | DirectRule) -> None:
    """Make `rule` the one for modules of exactly this type."""
    _RULES[layer_type] = rule


def find_rule(module: nn.Module) -> Rule | DirectRule | None:
    """The rule for this module; None if it must be read without one."""
    rule = _RULES.get(type(module))
    return rule if rule is not None and rule.applies(module) else None


def to_matrix(weight: Tensor, bias: Tensor | None) -> Tensor:
    """Weight [K, out, ...] and bias [K, out] as one matrix [K, out, in] or [K, out, in + 1], bias last."""
    matrix = weight.flatten(2)
    return matrix if bias is None else torch.cat([matrix, bias.unsqueeze(-1)], dim=-1)


def from_matrix(matrix: Tensor, weight_shape: torch.Size, has_bias: bool) -> tuple[Tensor, Tensor | None]:
    """The inverse of `to_matrix`."""
    weight = matrix[..., :-1] if has_bias else matrix
    return weight.reshape(len(matrix), *weight_shape), matrix[..., -1] if has_bias else None
