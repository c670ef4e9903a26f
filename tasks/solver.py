"""The solver of a run: its curvature, how it is fitted, and how it is inverted for a block of right-hand sides."""

import numpy as np

from influence.curvature import EKFAC, Regularisation, choose_gauss_newton, fit_ekfac, fit_kfac
from influence.inverse import Solution, conjugate_gradient
from influence.inverse.certificate import certify
from influence.layers import PerExampleGradients
from influence.memory import gradient_batch
from influence.vectors import Vectors
from tasks.artifacts import read_json
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.parameters import Curvature, Parameters, Precondition
from tasks.problem import load_ekfac
from tasks.progress import Progress, StepProgress
from tasks.workspace import Workspace


def curvature_examples(train: Split, settings: Precondition, seed: int) -> Split:
    """The training examples in the operator: all, or a random subset."""
    if settings.curvature_examples is None or settings.curvature_examples >= len(train):
        return train
    chosen = np.random.default_rng([seed, 2]).permutation(len(train))[: settings.curvature_examples]
    return train.subset(np.sort(chosen))


def factors_of(curvature: Curvature) -> str:
    """The Kronecker factors that a curvature is made of, or solved with."""
    return "K-FAC" if curvature == "K-FAC" else "EK-FAC"


def fit(
    gradients: PerExampleGradients, data: Split, settings: Precondition, curvature: Curvature, memory: int
) -> EKFAC:
    """Fit the Kronecker factors of this curvature, telling the progress."""
    probe, _ = data.batch(slice(0, 1), gradients.problem.device)
    labels = min(len(data.encoding.classes), settings.exact_classes)
    size = gradient_batch(gradients.problem, probe, memory // labels)
    if factors_of(curvature) == "K-FAC":
        progress = Progress("precondition: K-FAC", len(data))
        return fit_kfac(gradients, data, size, settings.exact_classes, on_batch=progress.advance)
    progress = Progress("precondition: EK-FAC, two passes", 2 * len(data))
    return fit_ekfac(gradients, data, size, settings.exact_classes, on_batch=progress.advance)


class Solver:
    """Solves (G + regularisation + damping) x = b, G over `data`.

    The Gauss-Newton matrix takes conjugate gradients, preconditioned by EK-FAC; EK-FAC and K-FAC are inverted at once,
    with weight decay on all parameters alike.

    Args:
        ekfac: fitted to the same problem; for K-FAC, K-FAC.
        data: training examples in the operator.
        parameters: of the run.
        damping: in absolute units.
        curvature: what G is.

    Raises:
        UserError: damping and weight decay leave the preconditioner singular.
    """

    def __init__(
        self, ekfac: EKFAC, data: Split, parameters: Parameters, damping: float, curvature: Curvature = "Gauss-Newton"
    ) -> None:
        settings, gradients = parameters.precondition, ekfac.gradients
        self.ekfac, self.settings, self.examples, self.damping = ekfac, settings, len(data), damping
        self.shift = self.damping + parameters.train.weight_decay
        if self.shift <= 0 and ekfac.is_singular():
            raise UserError(
                "the curvature has zero eigenvalues and cannot be inverted: "
                "set `precondition.damping` or `train.weight_decay` above 0"
            )
        self.curvature = curvature
        if curvature == "Gauss-Newton":
            matrix = choose_gauss_newton(gradients, data, parameters.compute.memory_bytes)
            self.operator = matrix + Regularisation(gradients.problem) + self.damping
        else:
            self.operator = ekfac + self.shift

    @property
    def description(self) -> str:
        if self.curvature == "Gauss-Newton":
            return "conjugate gradients on the Gauss-Newton matrix, preconditioned by EK-FAC"
        return f"{self.curvature}, inverted in its eigenbasis"

    def solve(self, right: Vectors) -> Solution:
        if self.curvature != "Gauss-Newton":
            vectors = self.ekfac.power(right, -1.0, self.shift)
            return certify(self.operator, right, vectors, self.settings.tolerance, products=0)
        return conjugate_gradient(
            self.operator,
            right,
            self.settings.tolerance,
            self.settings.max_iterations,
            lambda vectors: self.ekfac.power(vectors, -1.0, self.shift),
            StepProgress(self.examples, self.settings.max_iterations).step,
        )


def load_solver(workspace: Workspace, gradients: PerExampleGradients, train: Split, parameters: Parameters) -> Solver:
    """The solver by which the stage solved for its queries.

    Raises:
        UserError: a file is missing, or was fitted for another model.
    """
    ekfac, damping = load_ekfac(workspace, gradients)
    curved = curvature_examples(train, parameters.precondition, parameters.seed)
    return Solver(ekfac, curved, parameters, damping, read_json(workspace.curvature_report)["curvature"])
