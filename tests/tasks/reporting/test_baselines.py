import numpy as np
import pyarrow as pa
import pytest

from tasks.reporting.baselines import DETECTORS, RANKED, computed, detections, ranks, shared

SCORES = {"loss": np.array([3.0, 1.0, 2.0, 0.0]), "self_influence": np.array([1.0, 1.0, 5.0, 0.0])}


def test_only_what_was_computed_counts() -> None:
    columns = {column: pa.array([0.5, 1.5], pa.float32()) for column in DETECTORS.values()}
    columns[DETECTORS["confident_learning"]] = pa.nulls(2, pa.float32())
    found = computed(pa.table(columns))
    assert set(found) == set(DETECTORS) - {"confident_learning"}
    assert list(ranks(found)) == [name for name in RANKED if name != "confident_learning"]


def test_the_most_suspect_is_first_and_ties_share_a_rank() -> None:
    assert {name: rank.tolist() for name, rank in ranks(SCORES).items()} == {
        "loss": [1, 3, 2, 4],
        "self_influence": [2, 2, 1, 4],
    }


def test_what_a_signal_would_have_listed_too() -> None:
    flagged = np.array([True, False, True, False])
    found = shared(SCORES, flagged)
    # self-influence ranks the third first, then the first or the second
    assert found == {"loss": 1.0, "self_influence": pytest.approx(0.75), "random": pytest.approx(0.5)}
    assert shared(SCORES, np.zeros(4, bool)) == {} and shared(SCORES, np.ones(4, bool)) == {}


def test_the_list_is_scored_beside_the_signals() -> None:
    planted = np.array([True, False, False, False])
    found = detections(SCORES, np.array([2, 1, 3, 4]), planted)
    assert found is not None and list(found) == ["flags", "loss", "self_influence", "random"]
    assert found["loss"].auroc == 1.0 and found["flags"].auroc == pytest.approx(2 / 3)
    assert detections(SCORES, np.array([2, 1, 3, 4]), np.zeros(4, bool)) is None
