import pytest
import torch
from layer_checks import randn
from oracle import decay_diagonal, flatten, loss_gradients, make_problem, networks, relative_error, unflatten
from torch import Tensor, nn
from torch.func import jvp

from influence.curvature import EKFAC, Dense, fit_ekfac, fit_kfac
from influence.inverse import NotPositiveDefiniteError
from influence.layers import PerExampleGradients, as_vectors
from influence.layout import Layout
from influence.objective import SquaredError
from influence.problem import Problem, TensorData
from influence.scores import FactoredNorms, Pairwise, RelativeInfluence, SolvedNorms, norm_in_metric, order_of
from influence.scores.relative import Relation

SHIFT = 0.2
RELATIONS: list[Relation] = ["theta-relative", "loss-relative", "cosine"]


def fitted(name: str, kind: str = "ekfac") -> tuple[EKFAC, TensorData]:
    problem, data = make_problem(name)
    gradients = PerExampleGradients(problem, data.inputs[:2])
    return (fit_ekfac if kind == "ekfac" else fit_kfac)(gradients, data), data


def dense(ekfac: EKFAC) -> Tensor:
    problem = ekfac.gradients.problem
    identity = torch.eye(problem.parameter_count, dtype=torch.float64)
    return flatten(ekfac @ unflatten(identity, problem.parameters)) + SHIFT * identity


def shares(problem: Problem, data: TensorData) -> Tensor:
    theta = torch.cat([value.flatten() for value in problem.parameters.values()])
    return loss_gradients(problem, data) + decay_diagonal(problem) * theta


def relative(ekfac: EKFAC, queries: TensorData, examples: int, relation: Relation, factored: bool) -> RelativeInfluence:
    gradients, order = ekfac.gradients, order_of(relation)
    own = as_vectors(gradients, gradients.read(queries.inputs, targets=queries.targets))

    def solve(right: dict[str, Tensor]) -> dict[str, Tensor]:
        return ekfac.power(right, -1.0, SHIFT)

    norms = FactoredNorms(ekfac, SHIFT, order) if factored else SolvedNorms(gradients, solve, order)
    query_norms = norm_in_metric(own, solve(own)) if relation == "cosine" else None
    return RelativeInfluence(Pairwise(gradients, solve(own), examples), norms, query_norms)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("name", networks())
def test_it_equals_the_dense_formula(name: str, relation: Relation) -> None:
    ekfac, data = fitted(name)
    problem, queries = ekfac.gradients.problem, TensorData(data.inputs[:3], 2 - data.targets[:3])
    inverse = torch.linalg.inv(dense(ekfac))
    g_q, g_z = loss_gradients(problem, queries), shares(problem, data)
    lengths = (g_z @ inverse).norm(dim=1) if relation == "theta-relative" else ((g_z @ inverse) * g_z).sum(1).sqrt()
    truth = g_q @ inverse @ g_z.T / lengths
    if relation == "cosine":
        truth = truth / ((g_q @ inverse) * g_q).sum(dim=1, keepdim=True).sqrt()
        assert float(truth.abs().max()) <= 1
    for factored in (True, False):
        scores = relative(ekfac, queries, len(data), relation, factored)
        assert relative_error(scores.batch(data.inputs, data.targets), truth) <= 1e-10
        parts = torch.cat([scores.batch(*batch) for batch in data.batches(2)], dim=1)
        assert relative_error(parts, truth) <= 1e-10


@pytest.mark.parametrize("order", [1, 2])
def test_the_two_ways_to_a_length_agree_on_kfac_and_beyond_one_block(order: int) -> None:
    ekfac, data = fitted("convolutions", "kfac")
    many = TensorData(randn(70, *data.inputs.shape[1:]), torch.arange(70) % 3)
    readings = ekfac.gradients.read(many.inputs, targets=many.targets)
    factored = FactoredNorms(ekfac, SHIFT, order).from_readings(readings)  # type: ignore[arg-type]
    solved = SolvedNorms(ekfac.gradients, lambda right: ekfac.power(right, -1.0, SHIFT), order)  # type: ignore[arg-type]
    assert relative_error(factored, solved.from_readings(readings)) <= 1e-12


def test_the_slope_along_the_move_is_the_theta_relative_influence() -> None:
    """Its unit: the query's loss against the distance moved."""
    ekfac, data = fitted("mlp without bias")
    problem, query = ekfac.gradients.problem, TensorData(data.inputs[:1], data.targets[1:2])
    found = relative(ekfac, query, len(data), "theta-relative", True).batch(data.inputs, data.targets)[0]
    moves = torch.linalg.solve(dense(ekfac), shares(problem, data).T).T
    for index, move in enumerate(moves / moves.norm(dim=1, keepdim=True)):
        step = unflatten(move.unsqueeze(0), problem.parameters)
        slope = jvp(
            lambda parameters: problem.loss(parameters, query.inputs, query.targets)[0],
            (problem.parameters,),
            ({name: value[0] for name, value in step.items()},),
        )[1]
        assert float(slope) == pytest.approx(float(found[index]), rel=1e-10)


def test_the_cosine_of_an_example_with_itself_is_one_without_regularisation() -> None:
    ekfac, data = fitted("sequence")
    problem = Problem(ekfac.gradients.problem.model, type(ekfac.gradients.problem.objective)())
    bare = fit_ekfac(PerExampleGradients(problem, data.inputs[:2]), data)
    found = relative(bare, data, len(data), "cosine", True).batch(data.inputs, data.targets)
    assert torch.allclose(found.diagonal(), torch.ones(len(data), dtype=torch.float64), rtol=1e-10)
    assert float(found.abs().max()) <= 1 + 1e-10 and relative_error(found, found.T) <= 1e-10


@pytest.mark.parametrize("factored", [True, False])
@pytest.mark.parametrize("relation", RELATIONS)
def test_an_example_that_moves_nothing_has_no_relative_influence(relation: Relation, factored: bool) -> None:
    """Its target is met exactly."""
    torch.manual_seed(0)
    model, inputs = nn.Linear(4, 2, bias=False).double(), randn(5, 4)
    problem = Problem(model, SquaredError())
    targets = model(inputs).detach()
    targets[2] += 1.0
    targets[4] -= 2.0
    data = TensorData(inputs, targets)
    ekfac = fit_ekfac(PerExampleGradients(problem, inputs[:2]), data)
    found = relative(ekfac, data, len(data), relation, factored).batch(inputs, targets)
    assert bool(found.isfinite().all())
    assert bool((found[:, [0, 1, 3]] == 0).all()) and bool((found[[2, 4]][:, [2, 4]] != 0).all())


@pytest.mark.parametrize("factored", [True, False])
def test_a_gradient_that_regularisation_cancels_counts_as_none(factored: bool) -> None:
    """The only training example of a model at its minimum: its share of the objective has no gradient."""
    inputs, target, decay = randn(1, 3), torch.tensor([2.0], dtype=torch.float64), 0.5
    model = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():  # ridge regression in closed form
        model.weight.copy_(target * inputs / (inputs.square().sum() + decay))
    problem, data = Problem(model, SquaredError(decay)), TensorData(inputs, target)
    ekfac = fit_ekfac(PerExampleGradients(problem, randn(2, 3)), data)
    found = relative(ekfac, TensorData(inputs + 1, target), 1, "loss-relative", factored).batch(inputs, target)
    assert float(loss_gradients(problem, data).norm()) > 0.1
    assert found.tolist() == [[0.0]]


def test_lengths_in_an_indefinite_curvature_are_refused() -> None:
    problem, data = make_problem("logistic")
    gradients = PerExampleGradients(problem, data.inputs[:2])
    saddle = Dense(-torch.eye(problem.parameter_count, dtype=torch.float64), Layout.of(problem.parameters))
    norms = SolvedNorms(gradients, lambda right: saddle.power(right, -1.0), 1)
    with pytest.raises(NotPositiveDefiniteError, match="in the inverse curvature, which is not positive definite"):
        norms.from_readings(gradients.read(data.inputs, targets=data.targets))
