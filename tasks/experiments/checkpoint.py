"""The small network at a checkpoint before the end of its training: influence there, and going on from it."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from influence import Objective
from influence.curvature import Hessian, Regularisation, choose_gauss_newton
from influence.inverse import Direct, conjugate_gradient
from influence.layers import PerExampleGradients, as_vectors
from influence.problem import Problem, TensorData
from influence.retraining import NOBODY, AdamState, continue_adam
from influence.scores import Pairwise
from influence.vectors import Vectors, concatenate
from tasks.experiments.experiment import Setting
from tasks.experiments.small_cnn import network, patches
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


def influence(
    problem: Problem, data: TensorData, queries: TensorData, damping: float, tolerance: float
) -> dict[str, Tensor]:
    """Influence of all training images on each query, with two curvatures.

    Conjugate gradients solve with the damped Hessian to the tolerance, preconditioned by the inverse of the damped
    Gauss-Newton matrix, which is at hand.

    Returns:
        hessian: [Q, N].
        gauss_newton: [Q, N].
        residual: relative, of the system of each query with the Hessian, [Q].
        negative_curvature: whether it met a direction along which the damped Hessian is not positive, [Q].
    """
    gradients = PerExampleGradients(problem, data.inputs[:2])
    right = as_vectors(gradients, gradients.read(queries.inputs, targets=queries.targets))
    inverse = Direct(choose_gauss_newton(gradients, data) + Regularisation(problem), problem.parameters, damping)
    by_gauss_newton = inverse(right)
    hessian = Hessian(problem, data) + Regularisation(problem) + damping
    by_hessian = conjugate_gradient(hessian, right, tolerance, preconditioner=inverse)

    def along(solutions: Vectors) -> Tensor:
        scores = Pairwise(gradients, solutions, len(data))
        return torch.cat([scores.batch(*batch) for batch in data.batches(READ)], dim=1)

    return {
        "hessian": along(by_hessian.vectors),
        "gauss_newton": along(by_gauss_newton),
        "residual": by_hessian.certificate.relative_residual,
        "negative_curvature": by_hessian.certificate.negative_curvature,
    }


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
