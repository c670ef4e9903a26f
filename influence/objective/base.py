"""What every objective promises, and all that follows from its loss alone."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import grad, vjp, vmap

Parameters = Mapping[str, Tensor]


class Objective(ABC):
    """A loss on outputs plus (weight_decay / 2) * ||theta||^2 over the weights.

    An objective of one's own says its `loss`, twice differentiable in the outputs and of each example alone; the rest
    follows from it. What is known in closed form may be said too, and is faster then.

    Args:
        weight_decay: the factor w of (w / 2) * ||theta||^2; not negative.
        decay_biases: whether parameters whose name ends in `bias` are in the norm too.
    """

    def __init__(self, weight_decay: float = 0.0, decay_biases: bool = False) -> None:
        if weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
        self.weight_decay, self.decay_biases = weight_decay, decay_biases

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each example, [B], from outputs [B, C] and targets [B, ...]; in nats where it is a log-likelihood."""

    def check_targets(self, targets: Tensor, outputs: int) -> None:
        """Refuse targets [N, ...] that no example of a model with so many outputs can have.

        Raises:
            ValueError: a target is NaN or infinite.
        """
        if targets.is_floating_point() and not bool(targets.isfinite().all()):
            raise ValueError(f"a target of {type(self).__name__} is NaN or infinite: leave such examples out")

    def output_hessian_product(self, outputs: Tensor, targets: Tensor, vectors: Tensor) -> Tensor:
        """The Hessian of each example's loss in its outputs, times vectors [..., B, C]."""

        def total(at: Tensor) -> Tensor:
            return self.loss(at, targets).sum()

        pull = vjp(grad(total), outputs)[1]
        products: Tensor = vmap(lambda vector: pull(vector)[0])(vectors.reshape(-1, *outputs.shape))
        return products.view(vectors.shape)

    def root_columns(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Columns c_l of a square root of the Hessian of each example's loss in its outputs, [L, B, C].

        sum_l c_l c_l^T is the Hessian exactly. Here the c_l are the columns of its symmetric square root, L = C.

        Raises:
            ValueError: the Hessian has a negative eigenvalue, and so no square root: the loss is not convex.
            FloatingPointError: the Hessian is not finite.
        """
        classes = outputs.shape[-1]
        identity = torch.eye(classes, dtype=outputs.dtype, device=outputs.device).unsqueeze(1)
        rows = self.output_hessian_product(outputs, targets, identity.expand(-1, len(outputs), -1))
        # There is no decomposition in half precision.
        hessians = rows.transpose(0, 1).to(torch.promote_types(outputs.dtype, torch.float32))
        return self._symmetric_root(hessians).movedim(2, 0).to(outputs.dtype)

    def sampled_columns(self, outputs: Tensor, targets: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Random columns c_k, [count, B, C], such that sum_k c_k c_k^T is the Hessian in expectation.

        Here the columns of the square root are summed with random signs.
        """
        roots = self.root_columns(outputs, targets)
        signs = random_signs((count, *roots.shape[:2]), roots, generator)
        return torch.einsum("klb,lbc->kbc", signs, roots) / count**0.5

    def margin(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How far each example is on the right side of the decision, [B]."""
        raise TypeError(f"{type(self).__name__} has no margin")

    def log_odds(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """log p / (1 - p) of the probability p that the outputs give to the target, [B]."""
        raise TypeError(f"{type(self).__name__} states no probabilities, and so no log-odds")

    def decays(self, name: str) -> bool:
        """Whether the parameter of this name is in the regularisation."""
        return self.weight_decay > 0 and (self.decay_biases or not name.endswith("bias"))

    def regularisation(self, parameters: Parameters) -> Tensor:
        """(weight_decay / 2) * ||theta||^2, a scalar."""
        squares = [parameter.square().sum() for name, parameter in parameters.items() if self.decays(name)]
        if not squares:
            return next(iter(parameters.values())).new_zeros(())
        return 0.5 * self.weight_decay * torch.stack(squares).sum()

    def regularisation_gradient(self, parameters: Parameters) -> dict[str, Tensor]:
        """weight_decay * theta, zero where a parameter is not regularised."""
        return {
            name: (self.weight_decay if self.decays(name) else 0.0) * parameter
            for name, parameter in parameters.items()
        }

    def _symmetric_root(self, hessians: Tensor) -> Tensor:
        """H^(1/2) of each of [B, C, C]."""
        name = type(self).__name__
        if not bool(hessians.isfinite().all()):
            raise FloatingPointError(f"the Hessian of {name} in the outputs is not finite: the outputs overflow")
        values, basis = torch.linalg.eigh(hessians)
        smallest, largest = float(values.min()), float(values.abs().max())
        if smallest < -100 * torch.finfo(values.dtype).eps * values.shape[-1] * largest:
            raise ValueError(
                f"{name} is not convex in the outputs: its Hessian in them has the eigenvalue {smallest:.3g} for one "
                "of the examples, so that the Gauss-Newton matrix has no factors: use curvature='hessian'"
            )
        return (basis * values.clamp_min(0).sqrt().unsqueeze(-2)) @ basis.mT


def random_signs(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """-1 or +1 at equal odds, of the dtype and on the device of `like`."""
    drawn = torch.randint(2, shape, generator=generator, device=like.device)
    return (2 * drawn - 1).to(like.dtype)
