"""The small network at a checkpoint before the end of its training: influence there, and going on from it."""

from collections.abc import Mapping
from functools import cached_property, partial

import torch
from torch import Tensor

from experiments.common.experiment import Setting
from experiments.common.small_cnn import network, patches
from influence import Objective
from influence.curvature import Dense, Hessian, Regularisation, choose_gauss_newton
from influence.inverse import Certificate, Direct, Solution, conjugate_gradient
from influence.layers import PerExampleGradients, as_vectors
from influence.problem import Problem, TensorData
from influence.retraining import NOBODY, AdamState, continue_adam
from influence.scores import Pairwise
from influence.vectors import Vectors, concatenate, select
from tasks.progress import Progress

READ = 500  # images that go through the network at once
PART = 500  # steps of training in one part of the work
KINDS = ("parameters", "mean", "square")  # the parts of an `AdamState`


def trained(setting: Setting, start: Problem, data: TensorData, phases: Mapping[float, Tensor]) -> AdamState:
    """The network after all batches of all phases, {rate: batches [steps, B]}, from where it starts."""
    pieces = [(rate, piece) for rate, batches in phases.items() for piece in batches.split(PART)]
    progress = Progress(setting.name, sum(len(piece) for _, piece in pieces), "steps of training")

    def part(state: AdamState, rate: float, piece: Tensor) -> dict[str, Tensor]:
        return _packed(continue_adam(start, data, state, piece, rate))

    state = AdamState.start(start)
    for number, (rate, piece) in enumerate(pieces):
        found = setting.part(f"training-{number}", partial(part, state, rate, piece))
        parameters, mean, square = (_named(found, kind, start) for kind in KINDS)
        state = AdamState(parameters, mean, square, state.steps + len(piece))
        progress.advance(len(piece))
    return state


def at(checkpoint: AdamState, objective: Objective, dtype: torch.dtype) -> Problem:
    """The network with the parameters of a checkpoint of one model."""
    model = network().to(dtype)
    model.load_state_dict({name: value[0] for name, value in checkpoint.parameters.items()})
    return Problem(model, objective)


def predicted_labels(problem: Problem, images: Tensor) -> Tensor:
    """[N], of images [N, 784]."""
    with torch.no_grad():
        found = [problem.outputs(problem.parameters, patches(part)).argmax(dim=1) for part in images.split(READ)]
    return torch.cat(found)


class Influences:
    """Influence of all training images on each of Q queries, [Q, N], with two curvatures of the network."""

    def __init__(self, problem: Problem, data: TensorData, queries: TensorData) -> None:
        self.problem, self.data = problem, data
        self.gradients = PerExampleGradients(problem, data.inputs[:2])
        self.slopes = as_vectors(self.gradients, self.gradients.read(queries.inputs, targets=queries.targets))
        self.hessian = Hessian(problem, data) + Regularisation(problem)

    @cached_property
    def gauss_newton(self) -> Dense:
        operator = choose_gauss_newton(self.gradients, self.data) + Regularisation(self.problem)
        return Dense.of(operator, self.problem.parameters)

    def by_gauss_newton(self, damping: float) -> Tensor:
        """With the damped Gauss-Newton matrix, factored."""
        return self._along(self._inverse(damping)(self.slopes))

    def by_hessian(self, damping: float, tolerance: float) -> tuple[Tensor, Certificate]:
        """With the damped Hessian: conjugate gradients, preconditioned by the damped Gauss-Newton matrix.

        They stop where they meet a direction along which the damped Hessian is not positive; the certificate says so.
        """
        solution = self._solution(self.slopes, damping, tolerance)
        return self._along(solution.vectors), solution.certificate

    def by_convex_hessian(self, damping: float, tolerance: float) -> tuple[Tensor, float]:
        """With so much damping that no such direction is met: the first of damping, twice as much, and so on; which."""
        first = select(self.slopes, [0])
        while True:
            if not bool(self._solution(first, damping, tolerance).certificate.negative_curvature.any()):
                scores, certificate = self.by_hessian(damping, tolerance)
                if not bool(certificate.negative_curvature.any()):
                    return scores, damping
            damping *= 2

    def _solution(self, slopes: Vectors, damping: float, tolerance: float) -> Solution:
        return conjugate_gradient(self.hessian + damping, slopes, tolerance, preconditioner=self._inverse(damping))

    def _inverse(self, damping: float) -> Direct:
        return Direct(self.gauss_newton, self.problem.parameters, damping)

    def _along(self, solutions: Vectors) -> Tensor:
        scores = Pairwise(self.gradients, solutions, len(self.data))
        return torch.cat([scores.batch(*batch) for batch in self.data.batches(READ)], dim=1)


def gone_on(
    setting: Setting,
    start: Problem,
    data: TensorData,
    checkpoint: AdamState,
    batches: Tensor,
    rate: float,
    left_out: Tensor,
    together: int,
) -> Vectors:
    """Parameters after going on from the checkpoint, {name: [1 + K, *shape]}.

    First the control, with nothing left out, then without each of K images; the batches are the same for all.
    """
    progress, found = Progress(setting.name, len(left_out) + 1, "models gone on from the checkpoint"), []

    def part(missing: Tensor) -> Vectors:
        return continue_adam(start, data, checkpoint.repeated(len(missing)), batches, rate, missing).parameters

    for number, missing in enumerate(torch.cat([torch.tensor([NOBODY]), left_out]).split(together)):
        found.append(setting.part(f"gone-on-{number}", partial(part, missing)))
        progress.advance(len(missing))
    ends = concatenate(found)
    return {name: ends[name] for name in checkpoint.parameters}  # files keep an order of their own


def _packed(state: AdamState) -> dict[str, Tensor]:
    """A state as tensors by name, for a file."""
    return {f"{kind}/{name}": value for kind in KINDS for name, value in getattr(state, kind).items()}


def _named(tensors: Mapping[str, Tensor], kind: str, start: Problem) -> Vectors:
    """One of the parts of a state from `_packed`."""
    return {name: tensors[f"{kind}/{name}"] for name in start.parameters}
