"""200 random small problems through the engine: no NaN as an answer, and every certificate true."""

from typing import TypeVar, get_args

import pytest
import torch
from oracle import decay_diagonal, flatten, gauss_newton, loss_gradients, unflatten
from torch import Tensor, nn

from influence import Influence, Relative, SoftmaxCrossEntropy
from influence.inverse_curvature import Curvature, InverseCurvature, SolverName
from influence.layout import Layout
from influence.problem import Problem, TensorData
from influence.vectors import Vectors

EXACT: list[Curvature] = ["gauss-newton", "hessian"]
T = TypeVar("T")
Solved = tuple[Tensor, Tensor]  # right-hand sides and solutions, [K, P] each


class Draw:
    """Choices of one random problem."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def one_of(self, *choices: T) -> T:
        return choices[int(torch.randint(len(choices), (), generator=self.generator))]

    def model(self, classes: int) -> tuple[nn.Module, tuple[int, ...]]:
        """A network of random weights, and the shape of its input."""
        width, bias = self.one_of(1, 3, 5), self.one_of(True, False)
        match self.one_of("linear", "tanh", "relu", "convolution"):
            case "linear":
                return nn.Linear(width, classes, bias=bias), (width,)
            case "tanh":
                return nn.Sequential(nn.Linear(width, 3, bias=bias), nn.Tanh(), nn.Linear(3, classes)), (width,)
            case "relu":
                return nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, classes, bias=bias)), (width,)
        return nn.Sequential(nn.Conv1d(2, 2, 2, bias=bias), nn.Tanh(), nn.Flatten(), nn.Linear(4, classes)), (2, 3)

    def problem(self) -> tuple[Problem, TensorData]:
        classes, examples = self.one_of(2, 3), self.one_of(1, 5, 12)
        torch.manual_seed(int(torch.randint(10_000, (), generator=self.generator)))
        model, shape = self.model(classes)
        # Features of very different scales make the curvature ill-conditioned.
        inputs = torch.randn(examples, *shape) * torch.logspace(0, self.one_of(0.0, 1.0, 2.0), shape[-1])
        dtype = self.one_of(torch.float64, torch.float32)
        problem = Problem(model.to(dtype), SoftmaxCrossEntropy(self.one_of(0.0, 1e-4, 0.1)))
        return problem, TensorData(inputs.to(dtype), torch.randint(classes, (examples,)))


def dense(engine: Influence, curvature: Curvature, data: TensorData) -> Tensor:
    """What was to be inverted, [P, P] in float64."""
    problem, count = engine.problem, engine.problem.parameter_count
    identity = torch.eye(count, dtype=torch.float64)
    if curvature not in EXACT:
        approximation = engine._inverse.approximation
        assert approximation is not None
        own = flatten(approximation @ unflatten(identity.to(problem.dtype), problem.parameters)).double()
        return own + (problem.objective.weight_decay + engine.certificate.damping) * identity
    exact = Problem(problem.model.double(), problem.objective)
    doubled = TensorData(data.inputs.double(), data.targets)
    matrix = gauss_newton(exact, doubled) if curvature == "gauss-newton" else hessian(exact, doubled)
    return matrix + (decay_diagonal(exact) + engine.certificate.damping).diag()


def hessian(problem: Problem, data: TensorData) -> Tensor:
    layout = Layout.of(problem.parameters)

    def loss(flat: Tensor) -> Tensor:
        parameters = {name: value[0] for name, value in layout.unflatten(flat.unsqueeze(0)).items()}
        return problem.loss(parameters, data.inputs, data.targets).mean()

    found: Tensor = torch.func.hessian(loss)(torch.cat([value.flatten() for value in problem.parameters.values()]))
    return found


@pytest.mark.parametrize("part", range(10))
def test_no_answer_is_nan_and_every_certificate_is_true(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[Solved] = []
    solve = InverseCurvature.solve

    def recorded(self: InverseCurvature, right: Vectors) -> Vectors:
        found = solve(self, right)
        solved.append((flatten(right), flatten(found)))
        return found

    monkeypatch.setattr(InverseCurvature, "solve", recorded)
    answered = sum(answer(seed, solved) for seed in range(20 * part, 20 * part + 20))
    assert answered >= 10


def answer(seed: int, solved: list[Solved]) -> bool:
    """Whether there was an answer; it is checked."""
    draw = Draw(seed)
    problem, data = draw.problem()
    curvature = draw.one_of(*get_args(Curvature), *EXACT, *EXACT)  # the exact ones have many solvers
    solver = draw.one_of(*get_args(SolverName))
    damping = draw.one_of(0.0, 1e-4, 0.1, 10.0, Relative(0.1))
    dtype = problem.dtype
    solved.clear()
    try:
        engine = Influence(problem.model, problem.objective, data, curvature, solver, damping, max_iterations=40)
        scores = engine.pairwise(data)
    except ArithmeticError as error:  # not positive definite, singular, or out of the precision's range
        assert str(error)
        return False
    assert bool(scores.isfinite().all()), seed
    matrix, context = dense(engine, curvature, data), f"problem {seed}: {curvature}, {solver}, {damping}, {dtype}"
    if not solved:  # scored in the eigenbases of an approximation, without a system
        assert engine.certificate.converged and not engine.certificate.solves
        check_scores(scores, problem, data, matrix, context)
        return True
    check_certificate(engine, solved, matrix, data, context)
    return True


def check_scores(scores: Tensor, problem: Problem, data: TensorData, matrix: Tensor, context: str) -> None:
    """Against the dense formula, as far as the condition number and the rounding of gradients allow."""
    eps = 1000 * torch.finfo(problem.dtype).eps
    accuracy = eps * float(torch.linalg.cond(matrix))
    least = eps * scale(data) * float(torch.linalg.matrix_norm(torch.linalg.inv(matrix), 2))
    exact = Problem(problem.model.double(), problem.objective)
    gradients = loss_gradients(exact, TensorData(data.inputs.double(), data.targets))
    shares = gradients + decay_diagonal(exact) * torch.cat([value.flatten() for value in exact.parameters.values()])
    truth = gradients @ torch.linalg.solve(matrix, shares.T) / len(data)
    allowed = accuracy * float(truth.norm()) + least
    assert accuracy > 0.1 or float((scores.double() - truth).norm()) <= allowed, context


def scale(data: TensorData) -> float:
    """The largest squared length of an input: gradients and curvatures are rounded to digits of this."""
    return float(data.inputs.double().flatten(1).square().sum(dim=1).max())


def check_certificate(engine: Influence, solved: list[Solved], matrix: Tensor, data: TensorData, context: str) -> None:
    """Residuals are those of the dense matrix, and whether they count as met follows from them."""
    certificate = engine.certificate
    right, found = (torch.cat([pair[index] for pair in solved]) for index in (0, 1))
    eps, right, found = torch.finfo(right.dtype).eps, right.double(), found.double()
    size = right.norm(dim=1).clamp_min(1e-300)
    true = (right - found @ matrix).norm(dim=1) / size
    rounding = eps * len(matrix) * (1 + (float(matrix.norm()) + scale(data)) * found.norm(dim=1) / size)
    gap = (certificate.residuals.double() - true).abs()
    assert bool((gap <= 1000 * rounding + 1e-6 * true).all()), context
    assert certificate.converged == bool((certificate.residuals <= 1.1e-4).all()), context
