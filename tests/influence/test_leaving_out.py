"""The engine's predictions of leaving out against models trained again, of linear models at their minimum."""

import pytest
from convex import KINDS, Trained, correlation, trained
from torch import Tensor

from influence import Influence
from influence.inverse_curvature import SolverName
from influence.retraining import retrain_without
from influence.scores import measurement_changes

EXAMPLES = 3000
SETS = [list(range(40)), [7, 2999], list(range(0, 3000, 5))]


def engine_of(case: Trained, solver: SolverName = "direct") -> Influence:
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
    engine, truth = engine_of(case), actual(case, [[index] for index in left_out])
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
    assert correlation(engine_of(case).leave_one_out(case.queries, left_out, "margin"), truth) >= 0.999999


@pytest.mark.parametrize(
    ("kind", "solver"), [("least squares", "direct"), ("softmax", "direct"), ("logistic", "conjugate-gradient")]
)
def test_groups_left_out_are_as_after_training_again(kind: str, solver: SolverName) -> None:
    """Sets of 2, 40 and 600 of 3,000, the largest beyond what Woodbury's formula is used for."""
    case = trained(kind, EXAMPLES)
    engine, truth = engine_of(case, solver), actual(case, SETS)
    found = engine.group(SETS, case.queries)
    assert found.newton is not None and engine.certificate.converged
    newton, first = errors_of_sets(found.newton, truth), errors_of_sets(found.first_order, truth)
    assert correlation(found.newton, truth) >= 0.9999
    assert float(newton.max()) <= (1e-6 if kind == "least squares" else 0.02)
    assert float(newton.mean()) < 0.2 * float(first.mean())
    assert correlation(found.first_order, truth) >= 0.99
