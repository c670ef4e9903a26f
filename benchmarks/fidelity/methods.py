"""What every method says of every training example: [Q, N], by how much its presence raises the measurement of a query.

Every method sees the same weights, training set, queries and measurement. Those that say how much an example helps a
query are turned round where the measurement is a loss.
"""

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.fidelity.protocols import Protocol
from influence.curvature import EKFAC, Regularisation, choose_gauss_newton, fit_ekfac
from influence.inverse import Preconditioner, conjugate_gradient, make_preconditioner
from influence.inverse.preconditioner import inverse_of
from influence.layers import PerExampleGradients, Readings, as_vectors
from influence.problem import Problem, TensorData
from influence.scores import Pairwise
from influence.vectors import Vectors, dot

BATCH = 500  # training examples read at once
FIT_BATCH = 250
MEMORY = 2 * 2**30
PROJECTION = (32, 32)  # TRAK: of every layer's gradient, [out, in (+ 1)]
SEED = 0
STEPS = 8  # of conjugate gradients that are stopped early
VERSION = 1  # of what is computed here: kept predictions of another are not used


class Setting:
    """A trained model with what is asked of it.

    Args:
        protocol: whose model it is.
        model: trained on everything.
        train: the training set.
        queries: those that are scored.
    """

    def __init__(self, protocol: Protocol, model: nn.Module, train: TensorData, queries: TensorData) -> None:
        self.protocol, self.model, self.train = protocol, model, train
        self.gradients = PerExampleGradients(Problem(model, protocol.objective), train.inputs[:2])
        self.ask(queries)

    def ask(self, queries: TensorData) -> None:
        """Score other queries from now on; what is fitted to the training set stays."""
        self.queries = queries
        readings = self.gradients.read(queries.inputs, targets=queries.targets, measurement=self.protocol.measurement)
        self.right = as_vectors(self.gradients, readings)

    @property
    def decay(self) -> float:
        return self.protocol.objective.weight_decay

    @cached_property
    def ekfac(self) -> EKFAC:
        return fit_ekfac(self.gradients, self.train, FIT_BATCH)

    def scores(self, solutions: Vectors) -> Tensor:
        """From s_q of the queries. What leaving out an example adds to the measurement, having it there takes away."""
        pairwise = Pairwise(self.gradients, solutions, len(self.train))
        return -torch.cat([pairwise.batch(*batch) for batch in self.train.batches(BATCH)], dim=1)


Method = Callable[[Setting], Tensor]


def gradient_product(setting: Setting) -> Tensor:
    return setting.scores(setting.right)


def gradient_cosine(setting: Setting) -> Tensor:
    """The product over the norm of the training example's gradient; that of the query ranks nothing."""
    norms = []
    for inputs, targets in setting.train.batches(BATCH):
        vectors = as_vectors(setting.gradients, setting.gradients.read(inputs, targets=targets))
        norms.append(dot(vectors, vectors).sqrt())
    return gradient_product(setting) / torch.cat(norms).clamp_min(1e-12)


def ekfac(damping: float) -> Method:
    return lambda setting: setting.scores(setting.ekfac.power(setting.right, -1.0, damping + setting.decay))


def gauss_newton(damping: float, iterations: int) -> Method:
    """Conjugate gradients on the Gauss-Newton matrix, preconditioned by EK-FAC, stopped after so many iterations."""

    return lambda setting: setting.scores(solutions(setting, damping, iterations, setting.train))


def solutions(setting: Setting, damping: float, iterations: int, examples: TensorData) -> Vectors:
    """s_q of the queries, with the curvature over these training examples; see `gauss_newton`."""
    preconditioner = inverse_of(setting.ekfac, damping + setting.decay)
    return _solved(setting, damping, 1e-6, iterations, preconditioner, examples)


def gauss_newton_converged(damping: float) -> Method:
    """The same to a relative residual of .01, by the preconditioner that gets there soonest."""

    def method(setting: Setting) -> Tensor:
        problem = setting.gradients.problem
        operator = choose_gauss_newton(setting.gradients, setting.train, MEMORY) + Regularisation(problem)
        preconditioner = make_preconditioner(
            "subsample", operator, setting.gradients, setting.train, damping, MEMORY, SEED
        )
        return setting.scores(_solved(setting, damping, 1e-2, 60, preconditioner, setting.train))

    return method


def _solved(
    setting: Setting,
    damping: float,
    tolerance: float,
    iterations: int,
    preconditioner: Preconditioner | None,
    examples: TensorData,
) -> Vectors:
    curvature = choose_gauss_newton(setting.gradients, examples, MEMORY)
    operator = curvature + Regularisation(setting.gradients.problem) + damping
    return conjugate_gradient(operator, setting.right, tolerance, iterations, preconditioner).vectors


def trak(setting: Setting) -> Tensor:
    """TRAK of one model (Park et al. 2023), with a projection of our own.

    The gradient of every layer, a matrix, is multiplied by random matrices from both sides, so that no gradient is ever
    written down: phi = (R_out G R_in) of all layers in a row. With P the matrix of the training examples' phi, the
    score is phi_q (P^T P)^-1 phi_i (1 - p_i), p_i the probability of the label; gradients are those of the log-odds.
    """
    train = torch.cat([_projected(setting, *batch) for batch in setting.train.batches(BATCH)])
    queries = _projected(setting, setting.queries.inputs, setting.queries.targets)
    kernel = (train.T @ train).double()
    ridge = 1e-6 * float(kernel.diagonal().mean())
    solved = torch.linalg.solve(kernel + ridge * torch.eye(len(kernel)), queries.double().T).T
    with torch.no_grad():
        losses = setting.protocol.objective.loss(setting.model(setting.train.inputs), setting.train.targets)
    return (solved @ train.double().T) * (1 - torch.exp(-losses))


def _projected(setting: Setting, inputs: Tensor, targets: Tensor) -> Tensor:
    """[B, D]: the gradients of the log-odds, each layer's projected from both sides."""
    generator = torch.Generator().manual_seed(SEED)
    readings: Readings = setting.gradients.read(inputs, targets=targets, measurement="log-odds")
    parts = []
    for layer in readings.layers.values():
        sides = (layer.gradients[0], layer.activations)
        small = []
        for side, width in zip(sides, PROJECTION, strict=True):
            wide = side.shape[-1]
            random = torch.randn(wide, min(width, wide), generator=generator) / min(width, wide) ** 0.5
            small.append(side @ random if wide > width else side)
        parts.append(torch.einsum("bto,bti->boi", *small).flatten(1))
    return torch.cat(parts, dim=1)


def tracin(setting: Setting) -> Tensor:
    """captum's TracInCPFast on the last layer, with the final weights as its one checkpoint."""
    from captum.influence import TracInCPFast

    def load(module: nn.Module, checkpoint: object) -> float:
        return 1.0  # the weights are in the module already

    last = [name for name, module in setting.model.named_modules() if isinstance(module, nn.Linear)][-1]
    tracer = TracInCPFast(
        setting.model,
        setting.model.get_submodule(last),
        torch.utils.data.TensorDataset(setting.train.inputs, setting.train.targets),
        checkpoints=["final"],
        checkpoints_load_func=load,
        loss_fn=nn.CrossEntropyLoss(reduction="sum") if setting.protocol.classifies else _half_squared_error,
        batch_size=BATCH,
    )
    helpful: Tensor = tracer.influence((setting.queries.inputs, setting.queries.targets)).detach()
    return helpful if setting.protocol.classifies else -helpful


def _half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(outputs.squeeze(-1), targets, reduction="sum")
