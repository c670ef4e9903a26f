"""A review by somebody who knows the truth, on a small workspace whose errors were planted by hand."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.artifacts import TRUTH, read_table, write_table
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.reviews import store
from tasks.reviews.mending import Mending
from tasks.reviews.oracle import ORACLE, Review, require_fresh
from tasks.reviews.queue import build
from tasks.workspace import Workspace


@pytest.fixture(scope="module")
def planted(flagged_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The flagged workspace, with a truth: whoever is called `-flipped` belongs to the class before its own."""
    root = tmp_path_factory.mktemp("planted")
    shutil.copytree(flagged_once, root, dirs_exist_ok=True)
    workspace = Workspace(root)
    train = read_table(workspace.split("train"))
    ids, labels = train["example_id"].to_pylist(), train["label"].to_pylist()
    wrong = [name.endswith("-flipped") for name in ids]
    true = [f"class {(int(label[-1]) - moved) % 4}" for label, moved in zip(labels, wrong, strict=True)]
    truth = pa.table({"example_id": ids, "true_label": true, "planted": wrong})
    write_table(workspace.truth, truth, TRUTH)
    return workspace


@pytest.fixture
def review(planted: Workspace) -> Review:
    planted.verdicts.unlink(missing_ok=True)
    return Review.begin(planted, load_parameters(planted.parameters))


def test_the_oracle_answers_every_open_question_by_the_truth(planted: Workspace, review: Review) -> None:
    questions = build(planted)
    assert review.answer(planted) == len(questions)
    truth = {row["example_id"]: row["true_label"] for row in read_table(planted.truth).to_pylist()}
    for verdict in store.read(planted):
        expected = truth.get(verdict.example_id, verdict.given_label)
        assert verdict.reviewer == ORACLE and (verdict.new_label or verdict.given_label) == expected
    assert {verdict.verdict for verdict in store.read(planted)} == {"keep", "relabel"}
    assert review.answer(planted) == 0


def test_a_round_counts_what_was_judged_and_mended(planted: Workspace, review: Review) -> None:
    assert (review.points[0].inspected, review.points[0].mended) == (0.0, 0.0)
    review.answer(planted)
    point = review.record(planted)
    judged = {verdict.example_id for verdict in store.read(planted)}
    train = read_table(planted.split("train"))["example_id"].to_pylist()
    wrong = [name for name in train if name.endswith("-flipped")]
    assert point.inspected == pytest.approx(len(judged & set(train)) / 150)
    assert point.mended == pytest.approx(len(judged & set(wrong)) / len(wrong)) and point.mended > 0.5
    said = [row for row in read_table(planted.predictions).to_pylist() if row["split"] == "test"]
    assert point.test_accuracy == pytest.approx(np.mean([row["label"] == row["predicted"] for row in said]))


def test_orders_start_with_the_most_suspect(review: Review, planted: Workspace) -> None:
    rows = {row["example_id"]: row for row in read_table(planted.signals).to_pylist()}
    mending = review.mending
    losses = [rows[mending.ids[place]]["loss"] for place in mending.orders["loss"]]
    assert losses == sorted(losses, reverse=True)
    assert [rows[mending.ids[place]]["rank"] for place in mending.orders["flags"]] == list(range(1, 151))
    assert sorted(mending.random(0)) == list(range(150)) and (mending.random(0) != mending.random(1)).any()


def test_mending_trains_with_the_true_labels_of_the_chosen(planted: Workspace, review: Review) -> None:
    mending = review.mending
    nothing, all_ = np.zeros(150, dtype=bool), np.ones(150, dtype=bool)
    wrong, mended = mending.accuracies([[nothing] * 3, [all_] * 3])
    assert mended > wrong  # a tenth of the labels of 150 examples
    assert mending.accuracies([[nothing] * 3, [mending.planted] * 3]) == pytest.approx([wrong, mended])
    # what the truth says is what is trained on: the true labels given as the labels come to the same
    train = read_table(planted.split("train"))
    truth = dict(zip(mending.ids, mending.true.tolist(), strict=True))
    labels = [f"class {truth[name]}" for name in train["example_id"].to_pylist()]
    before = planted.split("train").read_bytes()
    write_table(
        planted.split("train"),
        train.set_column(train.schema.get_field_index("label"), "label", pa.array(labels)),
        train.schema.remove_metadata(),
    )
    clean = Mending(planted, load_parameters(planted.parameters))
    planted.split("train").write_bytes(before)
    assert not clean.planted.any() and clean.accuracies([[nothing] * 3]) == pytest.approx([mended])


def test_the_table_and_the_figure(planted: Workspace, review: Review) -> None:
    review.answer(planted)
    review.record(planted)
    points = review.write(planted)
    with planted.oracle_table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(points) == 2 + 2 * 5 + 1
    first = {row["order"]: row for row in rows if row["round"] == "1"}
    assert float(first["random"]["mended"]) < float(first["flags"]["mended"]) <= 1
    budgets = {first[name]["inspected"] for name in ("loop", "flags", "loss", "self_influence", "random")}
    assert len(budgets) == 1
    assert all(float(row["low"]) <= float(row["test_accuracy"]) <= float(row["high"]) for row in rows)
    drawn = planted.oracle_table.with_suffix(".svg").read_bytes()
    assert planted.oracle_table.with_suffix(".png").stat().st_size > 5000
    review.write(planted)
    assert planted.oracle_table.with_suffix(".svg").read_bytes() == drawn


def test_an_oracle_needs_planted_errors_and_no_verdicts(
    flagged: Workspace, make_verdict: Callable[..., object]
) -> None:
    truth = {"example_id": ["a"], "true_label": ["class 0"], "planted": [False]}
    write_table(flagged.truth, pa.table(truth), TRUTH)
    with pytest.raises(UserError, match=r"no errors were planted.*prepare\.corruption"):
        require_fresh(flagged)
    store.append(flagged, [make_verdict("a", "keep")])  # type: ignore[list-item]
    with pytest.raises(UserError, match="holds verdicts already"):
        require_fresh(flagged)
