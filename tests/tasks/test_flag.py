"""The flag stage on a real scored workspace."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from stage_runner import run_in

from influence.detection import fuse
from tasks.artifacts import FLAGS, SIGNAL_NAMES, SIGNALS, read_json, read_table
from tasks.errors import UserError
from tasks.flag import FUSED, run
from tasks.workspace import Workspace

EVIDENCE = ("evidence_for", "evidence_against")


@pytest.fixture
def flagged(copy_scored: Callable[..., Workspace]) -> Workspace:
    workspace = copy_scored("flagged")
    run_in(workspace.root, run)
    return workspace


def test_the_whole_training_set_is_ranked_by_the_fused_signals(flagged: Workspace) -> None:
    table = read_table(flagged.signals)
    assert table.schema.remove_metadata() == SIGNALS
    rows = table.to_pylist()
    assert [row["rank"] for row in rows] == list(range(1, 151))
    assert {row["example_id"] for row in rows} == set(labels(flagged))
    fused = fuse({name: np.array([row[name] for row in rows]) for name in FUSED}, FUSED)
    assert (np.diff(fused) <= 1e-9).all()
    assert set(FUSED) <= set(SIGNAL_NAMES) and not any(table[name].null_count for name in SIGNAL_NAMES)
    probability = np.array([row["error_probability"] for row in rows])
    assert (np.diff(probability) <= 1e-7).all() and probability.min() >= 0 and probability.max() <= 1
    for row in rows:
        assert row["given_label"] == labels(flagged)[row["example_id"]] != row["suggested_label"]
        assert 0 <= row["suggested_probability"] <= row["error_probability"] + 1e-6


def test_the_signals_are_those_of_the_artifacts(flagged: Workspace) -> None:
    rows = {row["example_id"]: row for row in read_table(flagged.signals).to_pylist()}
    margins = {row["example_id"]: row["margins"] for row in read_table(flagged.epoch_margins).to_pylist()}
    own = {row["example_id"]: row for row in read_table(flagged.self_influence).to_pylist()}
    for said in read_table(flagged.predictions).to_pylist():
        if said["split"] == "train":
            row = rows[said["example_id"]]
            assert (row["loss"], row["negative_margin"]) == (said["loss"], -said["margin"])
            assert row["negative_mean_margin"] == pytest.approx(-np.mean(margins[said["example_id"]]), rel=1e-5)
            assert row["self_influence"] == own[said["example_id"]]["self_influence"]
            assert row["validation_harm"] == -own[said["example_id"]]["influence_on_errors"]
            assert row["leave_one_out_loss"] == own[said["example_id"]]["leave_one_out_loss"]
            assert (row["neighbour_disagreement"] * 7) == pytest.approx(round(row["neighbour_disagreement"] * 7))


def test_planted_errors_come_first_and_are_given_their_true_label(flagged: Workspace) -> None:
    planted = [row for row in read_table(flagged.flags).to_pylist() if row["example_id"].endswith("-flipped")]
    truly = sum(name.endswith("-flipped") for name in labels(flagged))
    assert len(planted) >= 0.9 * truly > 10
    for row in planted:
        moved = int(row["given_label"].split()[1])
        assert row["suggested_label"] == f"class {(moved - 1) % 4}"
    metrics = read_json(flagged.flag_metrics)
    assert metrics["estimated_share_of_errors"] == pytest.approx(truly / 150, abs=0.06)


def test_the_flags_are_the_first_of_the_ranking(flagged: Workspace) -> None:
    flags, signals = read_table(flagged.flags), read_table(flagged.signals)
    assert flags.schema.remove_metadata() == FLAGS
    assert flags.select(SIGNALS.names).to_pylist() == signals.slice(0, 15).to_pylist()
    metrics, probability = read_json(flagged.flag_metrics), np.array(signals["error_probability"])
    assert (metrics["training_examples"], metrics["flagged"]) == (150, 15)
    assert metrics["expected_errors"] == pytest.approx(probability.sum(), rel=1e-5)
    assert metrics["expected_errors_flagged"] == pytest.approx(probability[:15].sum(), rel=1e-5)
    for row in flags.to_pylist():
        assert row["reason"].startswith(f"loses {row['loss']:.1f} nats; ")


def test_a_false_discovery_target_decides_how_many_are_shown(copy_scored: Callable[..., Workspace]) -> None:
    strict, lax = copy_scored("strict"), copy_scored("lax")
    for workspace, target in ((strict, 0.05), (lax, 0.5)):
        content = yaml.safe_load(workspace.parameters.read_text())
        content["flag"] = {"neighbours": 7, "evidence": 1, "false_discoveries": target}
        workspace.parameters.write_text(yaml.safe_dump(content))
        run_in(workspace.root, run)
        metrics, shown = read_json(workspace.flag_metrics), read_table(workspace.flags)
        probability = np.array(read_table(workspace.signals)["error_probability"])
        assert metrics["flagged"] == len(shown) > 0
        assert metrics["expected_precision"] >= 1 - target > probability[: len(shown) + 1].mean() - 1e-6
    assert read_json(strict.flag_metrics)["flagged"] < read_json(lax.flag_metrics)["flagged"]


def test_without_folds_the_neighbours_testify_alone(copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("no folds", flag={"folds": 0})
    run_in(workspace.root, run)
    table = read_table(workspace.signals)
    assert table["confident_learning"].null_count == len(table) and table["error_log_odds"].null_count == 0
    truly = np.array([name.endswith("-flipped") for name in table["example_id"].to_pylist()])
    assert truly[:15].mean() > 0.6
    assert not any("never saw" in reason for reason in read_table(workspace.flags)["reason"].to_pylist())


def test_nothing_to_inspect_and_no_evidence(copy_scored: Callable[..., Workspace]) -> None:
    nothing = copy_scored("nothing", flag={"inspect": 0.0})
    run_in(nothing.root, run)
    table = read_table(nothing.flags)
    assert len(table) == 0 and table.schema.remove_metadata() == FLAGS
    assert len(read_table(nothing.signals)) == 150
    bare = copy_scored("bare", flag={"evidence": 0})
    run_in(bare.root, run)
    assert {len(row[key]) for row in read_table(bare.flags).to_pylist() for key in EVIDENCE} == {0}


def test_two_runs_give_the_same_bytes(flagged: Workspace) -> None:
    files = (flagged.signals, flagged.flags, flagged.flag_metrics)
    first = [path.read_bytes() for path in files]
    run_in(flagged.root, run)
    assert [path.read_bytes() for path in files] == first


def test_the_order_of_the_rows_decides_nothing(flagged: Workspace, copy_scored: Callable[..., Workspace]) -> None:
    shuffled = copy_scored("shuffled")
    order = np.random.default_rng(0).permutation(150)
    for path in (shuffled.split("train"), shuffled.epoch_margins, shuffled.self_influence, shuffled.predictions):
        table = pq.read_table(path)
        rest = np.arange(150, len(table))  # predictions hold the other splits after the training split
        pq.write_table(table.take(pa.array(np.concatenate([order, rest]))), path)
    run_in(shuffled.root, run)
    for name in ("signals", "flags"):
        ours, theirs = (read_table(getattr(found, name)).to_pylist() for found in (shuffled, flagged))
        for mine, other in zip(ours, theirs, strict=True):
            for key, value in other.items():
                assert mine[key] == (pytest.approx(value, rel=1e-2, abs=1e-3) if isinstance(value, float) else value)


@pytest.mark.parametrize("artifact", ["predictions", "epoch_margins", "self_influence"])
def test_artifacts_of_another_training_set_are_refused(flagged: Workspace, artifact: str) -> None:
    path = getattr(flagged, artifact)
    table = pq.read_table(path)
    ids = table["example_id"].to_pylist()
    place = table.schema.get_field_index("example_id")
    pq.write_table(table.set_column(place, "example_id", pa.array(["another", *ids[1:]])), path)
    with pytest.raises(UserError, match=r"train\.parquet was prepared anew .*: rerun train and score"):
        run_in(flagged.root, run)


def labels(workspace: Workspace) -> dict[str, str]:
    table = read_table(workspace.split("train"), ["example_id", "label"])
    return dict(zip(table["example_id"].to_pylist(), table["label"].to_pylist(), strict=True))
