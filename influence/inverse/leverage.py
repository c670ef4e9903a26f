"""The direct solver in the space of the examples, for more parameters than examples times outputs.

With V = [c_il] / sqrt(n), so that the Gauss-Newton matrix is V V^T, and E the diagonal of weight decay and damping,

    (V V^T + E)^-1 = E^-1 - E^-1 V (I + V^T E^-1 V)^-1 V^T E^-1      (Woodbury)

needs a matrix of order n * L only, L columns an example. For generalised linear models V^T E^-1 V is the Gram matrix of
the inputs, weighted by the curvature of the loss: the form in which leverages are read.
"""

import torch
from torch import Tensor

from influence.curvature.factored import FactoredGaussNewton
from influence.curvature.operator import LinearOperator
from influence.curvature.regularisation import Regularisation
from influence.inverse.certificate import NotPositiveDefiniteError, Solution
from influence.inverse.direct import Direct, factor_in_place, refined, solve_factored
from influence.problem import Problem
from influence.vectors import Vectors, add_scaled, block

COLUMNS = 64  # of V written out at once
SMALL = 2**20  # bytes of a matrix that no limit refuses


class Leverage:
    """(G + D + damping I)^-1 for the Gauss-Newton matrix G and the Hessian D of the regularisation.

    The matrix of order n * L is made and factored on construction, in float64.

    Args:
        curvature: G.
        damping: in absolute units.

    Raises:
        NotPositiveDefiniteError: a parameter has neither weight decay nor damping.
    """

    def __init__(self, curvature: FactoredGaussNewton, damping: float = 0.0) -> None:
        self.curvature = curvature
        decay = Regularisation(curvature.gradients.problem) + damping
        self.operator = curvature + decay
        self._inverse_decay = _inverse_diagonal(decay, curvature.gradients.problem)
        self._shapes = {name: value.shape for name, value in curvature.gradients.problem.parameters.items()}
        self._factor, _ = factor_in_place(self._gram())

    def solve(self, right: Vectors, tolerance: float = 1e-6) -> Solution:
        """x of every b of a block {name: [K, *shape]}, with its certificate. See `Direct.solve`."""
        return refined(self.operator, self, right, tolerance, products=0)

    def __call__(self, vectors: Vectors) -> Vectors:
        """(G + D + damping I)^-1 of a block, without refinement or certificate."""
        first = self._undecayed(vectors)
        along = [gradients.along(first) for gradients in self.curvature.blocks()]
        flat = torch.cat([part.flatten(0, 1) for part in along])
        weights = solve_factored(self._factor, flat.T.double()).T.to(flat.dtype) / len(self.curvature.data)
        answer, start = first, 0
        for gradients, part in zip(self.curvature.blocks(), along, strict=True):
            own = weights[start : start + part[..., 0].numel()].view(part.shape)
            answer = add_scaled(answer, -1.0, self._undecayed(gradients.combine(own, self._shapes)))
            start += part[..., 0].numel()
        return answer

    def _undecayed(self, vectors: Vectors) -> Vectors:
        """E^-1 of a block."""
        return {name: self._inverse_decay[name] * value for name, value in vectors.items()}

    def _gram(self) -> Tensor:
        """I + V^T E^-1 V, [n * L, n * L], in float64, by columns of V."""
        probe = block(self.curvature.gradients.problem.parameters)
        shapes = [gradients.along(probe).shape[:2] for gradients in self.curvature.blocks()]
        sample, order = next(iter(probe.values())), sum(shape.numel() for shape in shapes)
        gram, end = sample.new_zeros(order, order, dtype=torch.float64), 0
        for gradients, shape in zip(self.curvature.blocks(), shapes, strict=True):
            identity = torch.eye(shape.numel(), dtype=sample.dtype, device=sample.device)
            for part in identity.split(COLUMNS, dim=1):
                written = self._undecayed(gradients.combine(part.reshape(*shape, -1), self._shapes))
                rows = [other.along(written).flatten(0, 1) for other in self.curvature.blocks()]
                start, end = end, end + part.shape[1]
                gram[:, start:end] = torch.cat(rows) / len(self.curvature.data)
        gram.diagonal().add_(1.0)
        return gram


def choose_direct(
    curvature: LinearOperator, problem: Problem, damping: float = 0.0, memory_limit: int | None = None
) -> Direct | Leverage:
    """The direct solver of curvature + regularisation + damping whose matrix is the smaller.

    Args:
        curvature: of the mean loss, without the regularisation.
        problem: the model and its objective.
        damping: in absolute units.
        memory_limit: bytes that the matrix may take; None: no limit but that of `Direct`.

    Raises:
        ValueError: the matrix would take more.
    """
    order, leverage = problem.parameter_count, None
    decayed = damping > 0 or all(problem.objective.decays(name) for name in problem.parameters)
    if decayed and isinstance(curvature, FactoredGaussNewton):
        inputs, _ = next(iter(curvature.data.batches(1, problem.device)))
        columns = len(curvature.data) * problem.outputs(problem.parameters, inputs).shape[-1]
        if columns < order:
            order, leverage = columns, curvature
    size = 8 * order**2
    if memory_limit is not None and size > max(memory_limit, SMALL):
        raise ValueError(
            f"the direct solver's matrix of order {order:,} takes {size / 2**20:,.0f} MiB, more than the "
            f"{memory_limit / 2**20:,.0f} MiB it may take: raise the memory limit, or use conjugate gradients"
        )
    if leverage is not None:
        return Leverage(leverage, damping)
    return Direct(curvature + Regularisation(problem), problem.parameters, damping)


def _inverse_diagonal(decay: LinearOperator, problem: Problem) -> Vectors:
    """E^-1, {name: [1, *shape]}.

    Raises:
        NotPositiveDefiniteError: an entry of E is not positive.
    """
    diagonal = decay @ {name: torch.ones_like(value) for name, value in block(problem.parameters).items()}
    for name, value in diagonal.items():
        if not bool((value > 0).all()):
            raise NotPositiveDefiniteError(
                f"parameter {name!r} has neither weight decay nor damping, and the leverage form divides by them: add "
                "damping, or use the direct solver in parameter space"
            )
    return {name: 1.0 / value for name, value in diagonal.items()}
