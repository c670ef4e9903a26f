"""What leaving out whole sets of training examples does: the sum of its members' influence, or one Newton step.

The sum is the first order in what is left out (Koh et al. 2019, "On the Accuracy of Influence Functions for Measuring
Group Effects"): it falls short the more, the larger the share of a set in what fixes the parameters. The Newton step
counts that share (see `scores.newton`).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.func import grad

from influence.curvature.operator import LinearOperator
from influence.inverse.certificate import Certificate, NotPositiveDefiniteError
from influence.inverse.conjugate_gradient import Preconditioner, conjugate_gradient
from influence.problem import Data, TensorData
from influence.scores.newton import NewtonStep
from influence.scores.pairwise import Scores
from influence.subset import membership, take
from influence.vectors import Vectors, add_scaled, block, scaled

Sets = Sequence[Tensor | Sequence[int]]

RANK = 256  # columns of V up to which Woodbury's formula is cheaper than conjugate gradients
BATCH = 256  # examples read at once


def first_order_groups(pairwise: Scores, data: Data, sets: Sets, batch: int = BATCH) -> Tensor:
    """Sum of the influence of each set's members on each query, [Q, K], in nats; only members are looked at.

    Args:
        pairwise: influence of training examples on the queries.
        data: the training set.
        sets: positions of the members of K sets.
        batch: training examples read at once.

    Raises:
        ValueError: a set is empty, is everything, or names no such example or one twice.
    """
    device = pairwise.gradients.problem.device
    member, start = membership(sets, len(data)).to(device), 0
    parts = []
    for inputs, targets in data.batches(batch, device):
        part = member[:, start : start + len(inputs)]
        here = part.any(dim=0)
        if bool(here.any()):
            scores = pairwise.batch(inputs[here], targets[here])
            parts.append(scores @ part[:, here].T.to(scores.dtype))
        start += len(inputs)
    return torch.stack(parts).sum(dim=0)


class NewtonGroups:
    """Changes of the parameters when sets of training examples are left out, by one Newton step for each set.

    Small sets go through Woodbury's formula. For large ones (H_-S + damping I) x = g_S / (n - s) is solved by conjugate
    gradients, H_-S = (n L - s L_S) / (n - s) + D being put together from the curvature L of all examples and that of
    the set, L_S.

    Args:
        step: the Newton step of small sets.
        data: the n training examples.
        curvature: of the mean loss over the examples it is given, without regularisation, as in
            `choose_gauss_newton(gradients, examples)`; that which the solver of `step` inverts.
        preconditioner: for conjugate gradients: a fixed positive definite approximation of (H + damping I)^-1.
        tolerance: relative residual of conjugate gradients.
        max_iterations: of conjugate gradients.
        rank: columns of V up to which a set is small.

    Attributes:
        certificates: of the systems solved by conjugate gradients, a set each.
    """

    def __init__(
        self,
        step: NewtonStep,
        data: Data,
        curvature: Callable[[Data], LinearOperator],
        preconditioner: Preconditioner | None = None,
        tolerance: float = 1e-10,
        max_iterations: int = 1000,
        rank: int = RANK,
    ) -> None:
        self.step, self.data, self.curvature, self.preconditioner = step, data, curvature, preconditioner
        self.tolerance, self.max_iterations, self.rank = tolerance, max_iterations, rank
        self.certificates: list[Certificate] = []
        self._whole = curvature(data)

    def changes(self, sets: Sets) -> Iterator[Vectors]:
        """Of each set, {name: [1, *shape]}, in order.

        Raises:
            ValueError: a set is empty, is everything, or names no such example or one twice.
            NotPositiveDefiniteError: the curvature of what is left is not positive definite.
        """
        member = membership(sets, len(self.data))
        union = member.any(dim=0).nonzero().squeeze(1)
        examples = take(self.data, union)  # one pass for all sets
        for row in member:
            chosen = row[union].nonzero().squeeze(1)
            yield self._change(TensorData(examples.inputs[chosen], examples.targets[chosen]))

    def _change(self, left_out: TensorData) -> Vectors:
        device = self.step.gradients.problem.device
        if self.step.columns(left_out) <= self.rank:
            inputs, targets = left_out.inputs.to(device), left_out.targets.to(device)
            return self.step.changes(inputs.unsqueeze(0), targets.unsqueeze(0))
        return self._solved(left_out)

    def _solved(self, left_out: TensorData) -> Vectors:
        size, rest = len(left_out), len(self.data) - len(left_out)
        whole, part = len(self.data) / rest * self._whole, size / rest * self.curvature(left_out)
        solution = conjugate_gradient(
            whole - part + self.step.decay,
            scaled(1.0 / rest, self._shares(left_out)),
            self.tolerance,
            self.max_iterations,
            self.preconditioner,
        )
        self.certificates.append(solution.certificate)
        if bool(solution.certificate.negative_curvature.any()):
            raise NotPositiveDefiniteError(
                f"leaving out a set of {size:,} of {len(self.data):,} examples leaves a curvature that is not positive "
                "definite: add damping or weight decay, or leave out fewer examples"
            )
        return solution.vectors

    def _shares(self, left_out: TensorData) -> Vectors:
        """g_S, the sum of the gradients of the members' shares of the objective, {name: [1, *shape]}."""
        problem = self.step.gradients.problem
        total = scaled(len(left_out), block(problem.regularisation_gradient()))
        for inputs, targets in left_out.batches(BATCH, problem.device):
            gradient = grad(lambda parameters, batch: problem.loss(parameters, *batch).sum())(
                problem.parameters, (inputs, targets)
            )
            total = add_scaled(total, 1.0, block(gradient))
        return total
