"""Flags that follow the verdicts of earlier reviews."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score
from stage_runner import run_in

from tasks import flag
from tasks.artifacts import content_hash, read_json, read_table
from tasks.reviews import store
from tasks.reviews.learning import LEAST, learn
from tasks.reviews.queue import build, verdict_on
from tasks.reviews.ranking import shares_below
from tasks.reviews.verdict import Verdict
from tasks.workspace import Workspace

Make = Callable[..., Verdict]
COUNT, JUDGED = 3000, 200


@pytest.fixture
def population() -> dict[str, Any]:
    """Signals of which `liar` means nothing, though the fusion trusts it as it trusts `honest`."""
    rng = np.random.default_rng(3)
    signals = {name: rng.normal(size=COUNT) for name in ("honest", "liar")}
    wrong = rng.random(COUNT) < expit(-4 + 2.5 * signals["honest"])
    fused = -4 + 1.8 * signals["honest"] + 1.8 * signals["liar"]
    return {"ids": [f"{n}" for n in range(COUNT)], "signals": signals, "wrong": wrong, "fused": fused}


def judge(make_verdict: Make, population: dict[str, Any]) -> list[Verdict]:
    """The most suspect, judged by the truth."""
    shares = {name: shares_below(values) for name, values in population["signals"].items()}
    return [
        make_verdict(
            population["ids"][row],
            "relabel" if population["wrong"][row] else "keep",
            new_label="dog" if population["wrong"][row] else None,
            signals={name: float(share[row]) for name, share in shares.items()},
            fused_log_odds=float(population["fused"][row]),
        )
        for row in np.argsort(-population["fused"])[:JUDGED]
    ]


def test_verdicts_show_which_signal_misleads(make_verdict: Make, population: dict[str, Any]) -> None:
    verdicts = judge(make_verdict, population)
    ids, fused, signals, wrong = (population[key] for key in ("ids", "fused", "signals", "wrong"))
    lessons = learn(verdicts, ids, fused, signals, seed=0)
    assert lessons.correction is not None and lessons.described()["learned_from"]
    assert (lessons.wrong, lessons.right) == (int(wrong[np.argsort(-fused)[:JUDGED]].sum()), JUDGED - lessons.wrong)
    others = np.argsort(-fused)[JUDGED:]
    learned = fused + lessons.change(fused, signals)
    before, after = (average_precision_score(wrong[others], found[others]) for found in (fused, learned))
    assert after > before + 0.05


@pytest.mark.parametrize("kind", ["few", "withdrawn", "without signals", "contested"])
def test_too_few_settled_verdicts_teach_nothing(make_verdict: Make, population: dict[str, Any], kind: str) -> None:
    verdicts = judge(make_verdict, population)
    if kind == "few":
        wrong = [verdict for verdict in verdicts if verdict.verdict == "relabel"]
        verdicts = [verdict for verdict in verdicts if verdict.verdict == "keep"] + wrong[: LEAST - 1]
    if kind == "withdrawn":
        verdicts += [make_verdict(verdict.example_id, "withdrawn") for verdict in verdicts]
    if kind == "without signals":
        verdicts = [make_verdict(verdict.example_id, "keep") for verdict in verdicts]
    if kind == "contested":
        verdicts += [make_verdict(verdict.example_id, "drop", "bob") for verdict in verdicts]
    lessons = learn(verdicts, population["ids"], population["fused"], population["signals"], seed=0)
    assert lessons.correction is None
    assert not lessons.change(population["fused"], population["signals"]).any()


def reviews_of_others(workspace: Workspace, found_wrong: Callable[[dict[str, float]], bool]) -> list[Verdict]:
    """Verdicts on examples that have left the data since, with the signals of those that are there."""
    train = read_table(workspace.split("train"))["example_id"].to_pylist()
    verdicts = []
    for item in build(workspace, train):
        wrong = found_wrong(item.signal_ranks)
        verdict = verdict_on(item, "drop" if wrong else "keep", "ann")
        verdicts.append(Verdict(**{**vars(verdict), "example_id": f"earlier {item.example_id}"}))
    return verdicts


def test_the_stage_ranks_by_what_it_learned_and_says_so(flagged: Workspace) -> None:
    before, hashes = read_table(flagged.signals), content_hash(flagged.flags)
    assert read_json(flagged.flag_metrics)["verdicts"] == {"found_wrong": 0, "found_right": 0, "learned_from": False}
    store.append(flagged, reviews_of_others(flagged, lambda ranks: ranks["self_influence"] > 0.6))
    run_in(flagged.root, flag.run)
    after = read_table(flagged.signals)
    found = read_json(flagged.flag_metrics)["verdicts"]
    assert found["learned_from"] and found["found_wrong"] == 60
    ranks = dict(zip(after["example_id"].to_pylist(), after["rank"].to_pylist(), strict=True))
    suspicion = dict(zip(before["example_id"].to_pylist(), before["self_influence"].to_pylist(), strict=True))
    ids = list(ranks)

    def agreement(ranked: dict[str, int]) -> float:
        return float(
            np.corrcoef([ranked[name] for name in ids], shares_below(np.array([-suspicion[i] for i in ids])))[0, 1]
        )

    old = dict(zip(before["example_id"].to_pylist(), before["rank"].to_pylist(), strict=True))
    assert 1 - agreement(ranks) < (1 - agreement(old)) / 2
    probability = np.array(after["error_probability"].to_pylist())
    assert (np.diff(probability) <= 1e-6).all() and probability.sum() == pytest.approx(60, rel=0.25)
    fused = dict(zip(before["example_id"].to_pylist(), before["fused_log_odds"].to_pylist(), strict=True))
    assert after["fused_log_odds"].to_pylist() == [fused[name] for name in after["example_id"].to_pylist()]
    assert content_hash(flagged.flags) != hashes


def test_verdicts_that_teach_nothing_leave_the_flags_to_the_byte(flagged: Workspace) -> None:
    hashes = [content_hash(path) for path in (flagged.flags, flagged.signals)]
    store.append(flagged, [verdict_on(build(flagged)[0], "keep", "ann")])
    run_in(flagged.root, flag.run)
    assert [content_hash(path) for path in (flagged.flags, flagged.signals)] == hashes
    text = flagged.parameters.read_text().replace("flag:\n", "flag:\n  learn_from_verdicts: false\n")
    flagged.parameters.write_text(text)
    store.append(flagged, reviews_of_others(flagged, lambda ranks: ranks["self_influence"] > 0.6))
    run_in(flagged.root, flag.run)
    assert not read_json(flagged.flag_metrics)["verdicts"]["learned_from"]
    assert read_table(flagged.flags)["example_id"].to_pylist() == [
        item.example_id for item in build(flagged) if item.kind == "label"
    ]
