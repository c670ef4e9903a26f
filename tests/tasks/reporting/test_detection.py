import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.detection import PERCENTAGES, evaluate

errors = st.lists(st.booleans(), min_size=2, max_size=60).filter(lambda e: any(e) and not all(e))


def test_a_perfect_score_finds_every_error_as_soon_as_it_can() -> None:
    planted = np.zeros(200, bool)
    planted[::20] = True  # 10 of 200: 5 %
    found = evaluate({"perfect": planted.astype(float)}, planted)["perfect"]
    assert found.recall[1] == pytest.approx(0.2)
    assert found.recall[5] == found.recall[30] == pytest.approx(1.0)
    assert found.precision == found.auroc == found.average_precision == 1.0


def test_the_recall_of_a_ranking_worked_out_by_hand() -> None:
    planted = np.array([True, False, False, True, False, False, False, False, False, False])
    found = evaluate({"score": np.arange(10)[::-1].astype(float)}, planted)["score"]
    assert found.recall[10] == pytest.approx(0.5)  # one of ten inspected: the first error
    assert found.recall[30] == pytest.approx(0.5)  # three of ten: still only the first
    assert found.recall[5] == pytest.approx(0.25)  # half an example
    assert found.precision == 0.5  # of the first two, one
    assert found.auroc == pytest.approx(14 / 16)


@given(errors)
def test_random_is_the_diagonal(planted: list[bool]) -> None:
    found = evaluate({}, np.array(planted))["random"]
    assert found.recall == pytest.approx({p: p / 100 for p in PERCENTAGES})
    assert found.auroc == pytest.approx(0.5)
    assert found.average_precision == pytest.approx(np.mean(planted))


@given(errors, st.data())
def test_the_order_of_the_rows_decides_nothing_even_among_ties(planted: list[bool], data: st.DataObject) -> None:
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(planted), max_size=len(planted))))
    order = np.array(data.draw(st.permutations(range(len(planted)))))
    truth = np.array(planted)
    one = evaluate({"score": scores}, truth)["score"]
    other = evaluate({"score": scores[order]}, truth[order])["score"]
    assert one.recall == pytest.approx(other.recall)
    assert one.auroc == pytest.approx(other.auroc)
    assert one.average_precision == pytest.approx(other.average_precision)


@given(errors, st.data())
def test_recall_grows_with_the_share_inspected(planted: list[bool], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.floats(-5, 5), min_size=len(planted), max_size=len(planted)))
    recall = list(evaluate({"score": np.array(scores)}, np.array(planted))["score"].recall.values())
    assert all(earlier <= later + 1e-12 for earlier, later in itertools.pairwise(recall))
    assert recall[0] >= 0 and recall[-1] <= 1


@pytest.mark.parametrize(
    ("score", "planted", "message"),
    [
        ([1.0, 2.0], [False, False], "some labels are wrong"),
        ([1.0, 2.0], [True, True], "some are right"),
        ([1.0], [True, False], "shape"),
        ([1.0, float("nan")], [True, False], "NaN"),
    ],
)
def test_what_cannot_be_scored_is_refused(score: list[float], planted: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate({"score": np.array(score)}, np.array(planted))
