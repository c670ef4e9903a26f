"""What the engine says of leaving out: against matrices written out, and of linear models against training again."""

import pytest
import torch
from convex import KINDS, Trained, correlation, trained
from engine_cases import (
    MEASUREMENTS,
    NAMES,
    changed,
    dense,
    engine_of,
    newton_steps,
    queries_of,
    query_gradients,
    shares,
)
from oracle import relative_error
from torch import Tensor

from influence import Influence
from influence.inverse_curvature import SolverName
from influence.retraining import retrain_without
from influence.scores import measurement_changes

EXAMPLES = 3000
SETS = [list(range(40)), [7, 2999], list(range(0, 3000, 5))]


def engine_at_minimum(case: Trained, solver: SolverName = "direct") -> Influence:
    return Influence(case.problem.model, case.problem.objective, case.data, solver=solver, tolerance=1e-8)


def actual(case: Trained, sets: list[list[int]], measurement: str = "loss") -> Tensor:
    found = retrain_without(case.problem, case.data, sets, case.solve, tolerance=1e-12)
    changes = case.change_of(found.parameters)
    return measurement_changes(case.problem, changes, case.queries, measurement)  # type: ignore[arg-type]


def relative_errors(found: Tensor, truth: Tensor) -> Tensor:
    return ((found - truth) / truth).abs()


def errors_of_sets(found: Tensor, truth: Tensor) -> Tensor:
    """Of each set over all queries together, [K]: a single query may hardly change, and then has no relative error."""
    return (found - truth).norm(dim=0) / truth.norm(dim=0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_example_left_out_is_as_after_training_again(kind: str) -> None:
    case, left_out = trained(kind, EXAMPLES), list(range(20))
    engine, truth = engine_at_minimum(case), actual(case, [[index] for index in left_out])
    found = engine.leave_one_out(case.queries, left_out)
    assert correlation(found, truth) >= 0.999999
    assert float(relative_errors(found, truth).mean()) <= 0.002
    assert engine.certificate.converged and engine.certificate.largest_residual <= 1e-8

    plain = engine.pairwise(case.queries)[:, left_out]
    assert correlation(plain, truth) >= 0.9999
    slope = (plain * truth).sum() / plain.square().sum()  # the unit: nats, not up to a factor
    assert 1.0 <= float(slope) <= 1.02  # the first order falls short by about the leverage of the example


def test_margins_too() -> None:
    case, left_out = trained("softmax", EXAMPLES), list(range(10))
    truth = actual(case, [[index] for index in left_out], "margin")
    assert correlation(engine_at_minimum(case).leave_one_out(case.queries, left_out, "margin"), truth) >= 0.999999


@pytest.mark.parametrize(
    ("kind", "solver"), [("least squares", "direct"), ("softmax", "direct"), ("logistic", "conjugate-gradient")]
)
def test_groups_left_out_are_as_after_training_again(kind: str, solver: SolverName) -> None:
    """Sets of 2, 40 and 600 of 3,000, the largest beyond what Woodbury's formula is used for."""
    case = trained(kind, EXAMPLES)
    engine, truth = engine_at_minimum(case, solver), actual(case, SETS)
    found = engine.group(SETS, case.queries)
    assert found.newton is not None and engine.certificate.converged
    newton, first = errors_of_sets(found.newton, truth), errors_of_sets(found.first_order, truth)
    assert correlation(found.newton, truth) >= 0.9999
    assert float(newton.max()) <= (1e-6 if kind == "least squares" else 0.02)
    assert float(newton.mean()) < 0.2 * float(first.mean())
    assert correlation(found.first_order, truth) >= 0.99


@pytest.mark.parametrize("name", NAMES)
def test_leaving_one_out_is_a_newton_step_after_which_the_query_is_measured_anew(name: str) -> None:
    engine, problem, data = engine_of(name, solver="direct")
    queries, indices = queries_of(data), [5, 0, 5]
    steps = newton_steps(problem, data, [[index] for index in indices])
    for measurement, measure in MEASUREMENTS[:2]:
        truth = changed(problem, queries, steps, measure)
        found = engine.leave_one_out((queries.inputs, queries.targets), indices, measurement)
        assert found.shape == (3, 3) and engine.certificate.converged
        assert relative_error(found, truth) <= 1e-6


@pytest.mark.parametrize(
    ("name", "solver"), [*((name, "direct") for name in NAMES), ("logistic", "conjugate-gradient")]
)
def test_groups_are_left_out_to_first_order_and_by_newton(name: str, solver: str) -> None:
    engine, problem, data = engine_of(name, solver=solver)
    queries, sets = queries_of(data), [[0], [4, 2, 6], [1, 3]]
    pairwise = query_gradients(problem, queries) @ torch.linalg.solve(dense(problem, data), shares(problem, data).T)
    first = torch.stack([pairwise[:, members].sum(dim=1) for members in sets], dim=1) / len(data)
    newton = changed(problem, queries, newton_steps(problem, data, sets), MEASUREMENTS[0][1])
    found = engine.group(sets, (queries.inputs, queries.targets))
    assert relative_error(found.first_order, first) <= 1e-8
    assert found.newton is not None and found.reason is None
    assert relative_error(found.newton, newton) <= 1e-6
    assert engine.certificate.converged


def test_where_there_is_no_newton_step_groups_say_why_and_leaving_one_out_refuses() -> None:
    for name, curvature, reason in (
        ("logistic", "ekfac", "takes an exact curvature, gauss-newton or hessian, not 'ekfac'"),
        ("mlp without bias", "hessian", "not linear in its parameters"),
    ):
        engine, _, data = engine_of(name, curvature=curvature, damping=10.0)
        queries = (data.inputs[:2], data.targets[:2])
        found = engine.group([[0, 1]], queries)
        assert found.newton is None and found.reason is not None and reason in found.reason
        assert bool(found.first_order.isfinite().all())
        with pytest.raises(ValueError, match=reason):
            engine.leave_one_out(queries, [0])


def test_the_hessian_of_a_linear_model_allows_newton_steps() -> None:
    for measurement in ("loss", "margin"):
        found = []
        for curvature in ("hessian", "gauss-newton"):
            engine, _, data = engine_of("logistic", curvature=curvature, solver="direct")
            found.append(engine.leave_one_out((data.inputs[:2], data.targets[:2]), [1, 2], measurement))
        assert relative_error(*found) <= 1e-8
