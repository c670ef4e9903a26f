"""200 random small problems through every solver: no NaN as an answer, and every certificate true."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch
from oracle import decay_diagonal, gauss_newton
from torch import Tensor, nn

from influence.curvature import Dense, FactoredGaussNewton, GaussNewton, Hessian, LinearOperator, Regularisation
from influence.inverse import (
    NotPositiveDefiniteError,
    PreconditionerName,
    Solution,
    arnoldi,
    conjugate_gradient,
    direct,
    eigen,
    lissa,
    make_preconditioner,
    nystrom,
)
from influence.layers import PerExampleGradients
from influence.layout import Layout
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.vectors import Vectors

Solver = Callable[[LinearOperator, Vectors, float], Solution]
Readable = tuple[PerExampleGradients, TensorData]


def preconditioned(name: PreconditionerName, readable: Readable) -> Solver:
    def solve(operator: LinearOperator, right: Vectors, damping: float) -> Solution:
        preconditioner = make_preconditioner(name, operator, *readable, damping)
        return conjugate_gradient(operator + damping, right, 1e-5, 300, preconditioner)

    return solve


SOLVERS: dict[str, Solver] = {
    "direct": lambda operator, right, damping: direct(operator, right, damping),
    "lissa": lambda operator, right, damping: lissa(operator + damping, right, 1e-2, 50),
    "arnoldi": lambda operator, right, damping: arnoldi(operator, right, damping, rank=10, steps=20),
    "eigen": lambda operator, right, damping: eigen(operator, right, damping, rank=10),
    "nystrom": lambda operator, right, damping: nystrom(operator, right, damping, rank=20),
}

PRECONDITIONERS = get_args(PreconditionerName)
MANY_PRODUCTS = (*PRECONDITIONERS, "lissa")  # these get the operator's dense copy, for speed


def hessian(problem: Problem, data: TensorData, layout: Layout) -> Tensor:
    def loss(flat: Tensor) -> Tensor:
        parameters = {name: value[0] for name, value in layout.unflatten(flat.unsqueeze(0)).items()}
        return problem.loss(parameters, data.inputs, data.targets).mean()

    at = torch.cat([value.flatten() for value in problem.parameters.values()])
    dense: Tensor = torch.func.hessian(loss)(at)
    return dense


def draw(seed: int) -> tuple[LinearOperator, Tensor, Layout, float, torch.dtype, Readable]:
    """A random network and curvature with a random spread of scales; its float64 dense twin, a damping, its dtype, and
    what its gradients are read from."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)

    def pick(*choices: float) -> float:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    inputs, hidden, classes = int(pick(1, 3, 6)), int(pick(0, 2, 4)), int(pick(2, 3))
    layers: list[nn.Module] = [nn.Linear(inputs, hidden), nn.Tanh()] if hidden else []
    layers.append(nn.Linear(hidden or inputs, classes, bias=bool(pick(0, 1))))
    dtype = torch.float64 if pick(0, 1) else torch.float32
    model = nn.Sequential(*layers).to(dtype)
    problem = Problem(model, SoftmaxCrossEntropy(weight_decay=pick(0, 1e-4, 0.1)))
    count = int(pick(1, 5, 20))
    # Features of very different scales make the curvature ill-conditioned.
    scales = torch.logspace(0, pick(0, 1, 2), inputs)
    examples = (torch.randn(count, inputs, generator=generator) * scales).to(dtype)
    data = TensorData(examples, torch.randint(classes, (count,), generator=generator))
    layout = Layout.of(problem.parameters)

    exact = Problem(model.double(), problem.objective)
    doubled = TensorData(examples.double(), data.targets)
    kind = int(pick(0, 1, 2))
    twin = (hessian(exact, doubled, layout) if kind == 2 else gauss_newton(exact, doubled)) + decay_diagonal(
        exact
    ).diag()
    model.to(dtype)
    problem = Problem(model, problem.objective)
    gradients = PerExampleGradients(problem, examples if count > 1 else examples.repeat(2, 1))
    curvature: LinearOperator
    if kind == 0:
        curvature = GaussNewton(problem, data)
    elif kind == 1:
        curvature = FactoredGaussNewton(gradients, data)
    else:
        curvature = Hessian(problem, data)
    damping = pick(0.0, 1e-6, 1e-3, 0.1, 10.0)
    return curvature + Regularisation(problem), twin, layout, damping, dtype, (gradients, data)


@pytest.mark.parametrize("part", range(10))
def test_answers_are_finite_and_certificates_true(part: int) -> None:
    converged = dict.fromkeys([*SOLVERS, *PRECONDITIONERS], 0)
    for seed in range(20 * part, 20 * part + 20):
        operator, twin, layout, damping, dtype, readable = draw(seed)
        flat = torch.randn(3, layout.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        flat[2] = 0.0
        right = layout.unflatten(flat.to(dtype))
        shifted = twin + damping * torch.eye(layout.size, dtype=torch.float64)
        smallest = float(torch.linalg.eigvalsh(shifted)[0])
        noise = layout.size * torch.finfo(dtype).eps * float(shifted.norm())
        copy = Dense.of(operator, {key: value[0] for key, value in right.items()})
        for name, solver in (SOLVERS | {name: preconditioned(name, readable) for name in PRECONDITIONERS}).items():
            try:
                solution = solver(copy if name in MANY_PRODUCTS else operator, right, damping)
            except (NotPositiveDefiniteError, ZeroDivisionError):
                assert smallest - damping <= 10 * noise or damping == 0.0, f"{name} gave up on problem {seed}"
                continue
            found, certificate = layout.flatten(solution.vectors).double(), solution.certificate
            assert bool(found.isfinite().all()), f"{name} on problem {seed}"
            size = layout.flatten(right).double().norm(dim=1)
            true = (flat.to(dtype).double() - found @ shifted).norm(dim=1) / size.clamp_min(1e-300)
            allowed = 1000 * noise * found.norm(dim=1) / size.clamp_min(1e-300) + 100 * torch.finfo(dtype).eps
            gap = (certificate.relative_residual.double() - true).abs()
            assert bool((gap <= allowed + 1e-6 * true).all()), f"{name} on problem {seed}: {gap} above {allowed}"
            assert bool(certificate.converged[2]) and not bool(found[2].any())
            assert not bool((certificate.stagnated & certificate.converged).any())
            converged[name] += int(certificate.converged[:2].all())
    assert converged["direct"] >= 5 and all(count >= 1 for count in converged.values()), converged
