"""How far leaving out an example moves a model: lengths of its gradient in powers of the inverse curvature.

With g_z the gradient of z's share of the objective (loss and regularisation) and A = H + damping I,

    order 1:  sqrt(g_z^T A^-1 g_z),                 the length of A^-1 g_z in the metric A,
    order 2:  sqrt(g_z^T A^-2 g_z) = ||A^-1 g_z||,  its Euclidean length.

Leaving z out moves the parameters by A^-1 g_z / n, so both are n times the length of a move. The first is told by what
happens to the predictions (where A is the Fisher matrix, its square is the mean square of n times the changes of the
loss, over examples and over labels drawn from the model); the second by what happens to the parameters.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from influence.curvature.kronecker import EKFAC
from influence.inverse.certificate import NotPositiveDefiniteError
from influence.layers import GradientBlock, PerExampleGradients, Readings, as_vectors
from influence.scores.quadratic_form import quadratic_form
from influence.vectors import Vectors, block, count, dot, norm, select

Order = Literal[1, 2]

AT_ONCE = 64  # vectors solved for in one block
ROUNDING = 100  # units in the last place below which a difference counts as zero


class Norms(Protocol):
    """Lengths of the examples of a batch."""

    def from_readings(self, readings: Readings) -> Tensor:
        """Of gradients of the loss already read with L = 1, [B]; exactly 0 where g_z is 0 to rounding."""
        ...


class FactoredNorms:
    """Lengths with A = G + shift * I through EK-FAC or K-FAC; no gradient is built for a layer used once per example.

    Args:
        ekfac: the fitted curvature, G.
        shift: damping plus weight decay.
        order: 1 or 2.

    Raises:
        ZeroDivisionError: A is singular.
    """

    def __init__(self, ekfac: EKFAC, shift: float, order: Order) -> None:
        self.ekfac, self.shift, self.order = ekfac, shift, order
        regularisation = block(ekfac.gradients.problem.regularisation_gradient())
        self._pull = ekfac.power(regularisation, -float(order), shift)
        self._offset = dot(regularisation, self._pull)

    def from_readings(self, readings: Readings) -> Tensor:
        """As `Norms`."""
        losses = quadratic_form(self.ekfac, readings, lambda eigenvalues: (eigenvalues + self.shift) ** -self.order)
        mixed = 2 * GradientBlock(self.ekfac.gradients, readings).along(self._pull)[0, :, 0]
        squares = losses + mixed + self._offset
        rounding = ROUNDING * torch.finfo(squares.dtype).eps * (losses + self._offset)
        return torch.where(squares > rounding, squares, 0.0).sqrt()


class SolvedNorms:
    """Lengths by solving for every example, with whatever inverts A; many parameters or examples do not afford it.

    Args:
        gradients: reads per-example gradients of the problem.
        solve: A^-1 of a block of vectors.
        order: 1 or 2.
    """

    def __init__(self, gradients: PerExampleGradients, solve: Callable[[Vectors], Vectors], order: Order) -> None:
        self.gradients, self.solve, self.order = gradients, solve, order
        self._regularisation = block(gradients.problem.regularisation_gradient())

    def from_readings(self, readings: Readings) -> Tensor:
        """As `Norms`.

        Raises:
            NotPositiveDefiniteError: of order 1, where A is not positive definite along a gradient.
        """
        losses = as_vectors(self.gradients, readings)
        rounding = ROUNDING * torch.finfo(self.gradients.problem.dtype).eps
        found = []
        for start in range(0, count(losses), AT_ONCE):
            own = select(losses, slice(start, start + AT_ONCE))
            shares = {name: value + self._regularisation[name] for name, value in own.items()}
            vanishes = norm(shares) <= rounding * (norm(own) + norm(self._regularisation))
            solved = self.solve(shares)
            lengths = norm(solved) if self.order == 2 else norm_in_metric(shares, solved)
            found.append(torch.where(vanishes, 0.0, lengths))
        return torch.cat(found)


def norm_in_metric(vectors: Vectors, solved: Vectors) -> Tensor:
    """sqrt(g^T A^-1 g), [K], of vectors g and A^-1 g.

    Raises:
        NotPositiveDefiniteError: a square is negative by more than rounding.
    """
    squares, scale = dot(vectors, solved), norm(vectors) * norm(solved)
    if bool((squares < -ROUNDING * torch.finfo(squares.dtype).eps * scale).any()):
        raise NotPositiveDefiniteError(
            f"a gradient has the squared length {float(squares.min()):.3g} in the inverse curvature, which is not "
            "positive definite: add damping, or use the Gauss-Newton matrix"
        )
    return squares.clamp_min(0).sqrt()
