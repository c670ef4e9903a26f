"""The face of the library: a model, what it was trained on, and every question one may ask of the two."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from influence.bytesize import parse_bytes
from influence.certificate import EngineCertificate
from influence.curvature import EKFAC
from influence.damping import Damping
from influence.inverse_curvature import EXACT_LABELS, Curvature, InverseCurvature, SolverName
from influence.layers import PerExampleGradients, as_vectors
from influence.memory import gradient_batch
from influence.objective import Objective
from influence.problem import Data, Problem, TensorData
from influence.scores import Pairwise, SelfInfluence, TwoSidedTop
from influence.vectors import Vectors, block, concatenate, dot

Examples = tuple[Tensor, Tensor]  # inputs [N, ...] and targets [N]

AT_ONCE = 64  # vectors solved for in one block


class Influence:
    """Influence of training examples on anything a trained model does.

    Scores are in nats (the unit of the loss): the predicted rise of a query's loss if a training example were left out.
    Positive: helpful; negative: harmful (Koh & Liang 2017, equation 2, divided by -n).

    Args:
        model: maps inputs [B, ...] to outputs [B, C]; put in evaluation mode.
        objective: what it was trained on.
        train: the training set, as two tensors or as `influence.problem.Data`.
        curvature: the exact `hessian` or `gauss-newton` (each with the regularisation's), solved by `solver`; or an
            approximation that is inverted in closed form: `ekfac`, `kfac`, `diagonal`, `identity`.
        solver: for the exact curvatures.
        damping: absolute, or `Relative(share)` of the curvature's mean eigenvalue; with `hessian`, of Gauss-Newton's.
        device: where to compute; None: where the model is.
        memory_limit: bytes for intermediate results, as a number or as `4GiB`.
        parameters: names of the parameters that count; None: all that require a gradient.
        tolerance: relative residual to which systems are solved.
        max_iterations: of the iterative solvers.

    Raises:
        ValueError: a name is unknown, there are no examples, or no parameter.

    Attributes:
        certificate: of the last answer.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        train: Examples | Data,
        curvature: Curvature = "gauss-newton",
        solver: SolverName = "conjugate-gradient",
        damping: Damping = 0.0,
        device: torch.device | str | None = None,
        memory_limit: int | str = "4GiB",
        parameters: list[str] | None = None,
        tolerance: float = 1e-4,
        max_iterations: int = 1000,
    ) -> None:
        self.train: Data = TensorData(*train) if isinstance(train, tuple) else train
        if not len(self.train):
            raise ValueError("the training set is empty")
        self.problem = Problem(model if device is None else model.to(device), objective, parameters)
        self._memory = parse_bytes(memory_limit) if isinstance(memory_limit, str) else memory_limit
        probe = next(iter(self.train.batches(2, self.problem.device)))[0]
        self._gradients = PerExampleGradients(self.problem, probe)
        self._batch = gradient_batch(self.problem, probe[:1], self._memory)
        outputs = self.problem.outputs(self.problem.parameters, probe[:1]).shape[-1]
        fit_batch = max(1, self._batch // min(outputs, EXACT_LABELS))
        self._inverse = InverseCurvature(
            self._gradients, self.train, curvature, solver, damping, self._memory, fit_batch, tolerance, max_iterations
        )
        self.certificate = EngineCertificate(self._inverse.damping)

    def pairwise(self, queries: Examples) -> Tensor:
        """Influence of every training example on every query, [Q, N], in nats."""
        with self._answer():
            pairwise = Pairwise(self._gradients, self._solve_queries(queries), len(self.train))
            return torch.cat([pairwise.batch(*batch) for batch in self._batches()], dim=1)

    def top(self, queries: Examples, k: int = 20) -> TwoSidedTop:
        """The k most helpful and k most harmful training examples of every query; memory does not grow with N."""
        with self._answer():
            pairwise = Pairwise(self._gradients, self._solve_queries(queries), len(self.train))
            top, start = TwoSidedTop(len(queries[1]), k), 0
            for inputs, targets in self._batches():
                top.update(pairwise.batch(inputs, targets), torch.arange(start, start + len(targets)))
                start += len(targets)
            return top

    def self_influence(self) -> Tensor:
        """Influence of every training example on its own loss, [N], in nats.

        Through EK-FAC or K-FAC no per-example gradient is built. With an exact curvature a system is solved for every
        training example, which only small problems afford.
        """
        with self._answer():
            ekfac = self._inverse.approximation
            if isinstance(ekfac, EKFAC) and self._inverse.operator is None:
                own = SelfInfluence(ekfac, self._inverse.shift, len(self.train))
                return torch.cat([own.batch(*batch) for batch in self._batches()])
            return torch.cat([self._solved_self_influence(*batch) for batch in self._batches()])

    def _solve_queries(self, queries: Examples) -> Vectors:
        data = TensorData(*queries)
        parts = []
        for inputs, targets in data.batches(AT_ONCE, self.problem.device):
            readings = self._gradients.read(inputs, targets=targets)
            parts.append(self._inverse.solve(as_vectors(self._gradients, readings)))
        return concatenate(parts)

    def _solved_self_influence(self, inputs: Tensor, targets: Tensor) -> Tensor:
        regularisation = block(self.problem.regularisation_gradient())
        found = []
        for start in range(0, len(inputs), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            own = as_vectors(self._gradients, self._gradients.read(inputs[part], targets=targets[part]))
            share = {name: value + regularisation[name] for name, value in own.items()}
            found.append(dot(own, self._inverse.solve(share)) / len(self.train))
        return torch.cat(found)

    def _batches(self) -> Iterator[Examples]:
        return self.train.batches(self._batch, self.problem.device)

    @contextmanager
    def _answer(self) -> Iterator[None]:
        """Keep time and certificates of one answer."""
        self._inverse.certificates = []
        self.certificate = EngineCertificate(self._inverse.damping, self._inverse.certificates)
        start = time.monotonic()
        yield
        self.certificate.seconds = time.monotonic() - start
