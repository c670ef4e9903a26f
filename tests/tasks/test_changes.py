import pyarrow as pa
import pytest

from tasks.artifacts import HISTORY
from tasks.changes import accuracy_change, flag_change
from tasks.intervals import paired_change_interval


def examples(*rows: tuple[object, ...]) -> pa.Table:
    """Rows of (example_id, split, label, correct, flagged, judged)."""
    columns = list(zip(*rows, strict=True))
    return pa.table([*columns, [None] * len(rows)], names=HISTORY.names).cast(HISTORY)


def of_test(rights: str, **labels: str) -> pa.Table:
    """Test examples 0, 1, ...: whether the model is right on them; and their labels where these are not `cat`."""
    rows = [(str(i), "test", labels.get(f"x{i}", "cat"), right == "1", False, False) for i, right in enumerate(rights)]
    return examples(*rows)


def test_accuracy_is_compared_on_the_same_examples_only() -> None:
    before, after = of_test("11110000"), of_test("1110011010", x3="dog")
    change = accuracy_change(before, after, touched={"2"})
    assert change is not None
    # 0, 1, 4 ... 7 remain: 3 was relabelled at the source, 2 was judged, 8 and 9 are new
    assert (change.examples, change.left_out) == (6, 4)
    assert (change.before, change.after) == (pytest.approx(2 / 6), pytest.approx(4 / 6))
    assert (change.low, change.high) == paired_change_interval(2, 0, 6)


def test_without_a_common_example_nothing_is_compared() -> None:
    assert accuracy_change(of_test("11"), of_test("11", x0="dog"), touched={"1"}) is None


def test_flags_are_resolved_new_or_persist() -> None:
    def flagged(**states: str) -> pa.Table:
        rows = [(name, "train", "cat", None, "f" in state, "j" in state) for name, state in states.items()]
        return examples(*rows)

    before = flagged(relabelled="f", kept="f", cured="f", gone="f", stays="f", judged="fj", fresh="")
    after = flagged(relabelled="", kept="fj", cured="", stays="f", judged="fj", fresh="f", added="f")
    change = flag_change(before, after, {"relabelled": "relabel", "kept": "keep", "judged": "keep"})
    assert change.resolved == {
        "relabel": 1,
        "keep": 1,
        "no longer flagged": 1,
        "gone from the training data": 1,
    }
    assert change.new == {"fresh", "added"} and change.persisting == 1
