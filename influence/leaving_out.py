"""What leaving training examples out does to queries, by one Newton step with the leverage of what is left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.inverse_curvature import InverseCurvature
from influence.problem import Problem
from influence.queries import Queries
from influence.scores import NewtonGroups, NewtonStep, measurement_changes
from influence.scores.group import Sets
from influence.subset import take
from influence.vectors import Vectors

PROBED = 16  # examples on which outputs are looked at for being linear in the parameters


@dataclass(frozen=True)
class GroupInfluence:
    """Predicted rise of what is measured of each query if each of K sets of training examples were left out.

    In nats, for the loss. Positive: helpful.

    Attributes:
        first_order: the sum of the members' influence, [Q, K].
        newton: one Newton step, which counts the share of the set in the curvature, [Q, K]; None: not available.
        reason: why there is no Newton step; None where there is.
    """

    first_order: Tensor
    newton: Tensor | None
    reason: str | None


class LeavingOut:
    """Newton steps with the inverse curvature that the engine has.

    Args:
        inverse: (A + damping I)^-1.

    Attributes:
        refusal: why there are no Newton steps with it; None where there are.
    """

    def __init__(self, inverse: InverseCurvature) -> None:
        self.inverse, self.problem = inverse, inverse.gradients.problem
        self.refusal = _refusal(inverse)

    def one_by_one(self, queries: Queries, indices: Tensor | Sequence[int]) -> Tensor:
        """Rise of what is measured of each query when each of K examples is left out alone, [Q, K].

        Raises:
            ValueError: there is no Newton step, or no such example.
            NotPositiveDefiniteError: the curvature of what is left is not positive definite.
        """
        if self.refusal is not None:
            raise ValueError(self.refusal)
        left_out = take(self.inverse.train, indices)
        return self._measured(queries, self._step().one_by_one(left_out))

    def groups(self, queries: Queries, sets: Sets) -> tuple[Tensor | None, str | None]:
        """The same for sets of them, [Q, K]; or None, and why."""
        if self.refusal is not None:
            return None, self.refusal
        inverse, how = self.inverse, self.inverse.how
        known = inverse.direct if how.solver == "direct" else inverse.preconditioner
        groups = NewtonGroups(
            self._step(), inverse.train, inverse.gauss_newton, known, how.tolerance, how.max_iterations
        )
        try:
            return self._measured(queries, groups.changes(sets)), None
        except ArithmeticError as error:
            return None, str(error)
        finally:
            inverse.certificates.extend(groups.certificates)

    def _step(self) -> NewtonStep:
        inverse = self.inverse
        examples, tolerance = len(inverse.train), inverse.how.tolerance
        return NewtonStep(inverse.gradients, inverse.solve, examples, inverse.damping, tolerance, inverse.plan.working)

    def _measured(self, queries: Queries, changes: Iterator[Vectors]) -> Tensor:
        memory = self.inverse.plan.working
        parts = [measurement_changes(self.problem, change, queries.data, queries.measure, memory) for change in changes]
        return torch.cat(parts, dim=1)


def _refusal(inverse: InverseCurvature) -> str | None:
    if not inverse.how.exact:
        return f"a Newton step takes an exact curvature, gauss-newton or hessian, not {inverse.how.curvature!r}"
    problem = inverse.gradients.problem
    inputs, targets = next(iter(inverse.train.batches(PROBED, problem.device)))
    if inverse.how.curvature == "hessian" and not _is_linear(problem, inputs):
        return (
            "with the Hessian of a model that is not linear in its parameters a Newton step would need every example's "
            "own: use curvature='gauss-newton'"
        )
    try:
        inverse.gradients.read_columns(inputs, targets)
    except ValueError as error:  # the loss is not convex in the outputs
        return str(error)
    return None


def _is_linear(problem: Problem, inputs: Tensor) -> bool:
    """Whether the outputs are linear in the parameters: their mean over theta + d and theta - d is that at theta."""
    generator = torch.Generator().manual_seed(0)
    step = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
        for name, value in problem.parameters.items()
    }

    def outputs(sign: int) -> Tensor:
        return problem.outputs({name: value + sign * step[name] for name, value in problem.parameters.items()}, inputs)

    with torch.no_grad():
        below, middle, above = (outputs(sign) for sign in (-1, 0, 1))
    bend, size = below + above - 2 * middle, below.abs() + above.abs() + middle.abs()
    return float(bend.abs().max()) <= torch.finfo(bend.dtype).eps ** 0.5 * float(size.max())
