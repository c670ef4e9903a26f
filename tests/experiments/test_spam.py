from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from experiments import spam
from experiments.common import shipped
from experiments.common.enron import count_words, load_mails
from experiments.common.mislabelled import CONDITIONAL, KINDS, UNIFORM, flip
from flows.init import render
from flows.sniff import Hints, sniff
from tasks.errors import UserError
from tasks.parameters import load_parameters

OF_HAM = ["meeting", "gas", "deal", "volumes", "meter", "schedule", "attached", "contract", "daren", "pipeline"]
OF_SPAM = ["cheap", "pills", "offer", "winner", "click", "money", "viagra", "discount", "online", "prescription"]
COMMON = ["please", "time", "today", "week", "know", "need", "company", "message", "order", "number"]


def write_mails(folder: Path, count: int = 240) -> None:
    """enron1.parquet: three of ten are spam, and most words tell which."""
    rng = np.random.default_rng(0)
    spam = rng.random(count) < 0.3
    texts = []
    for number, kind in enumerate(spam):
        own = rng.choice(OF_SPAM if kind else OF_HAM, rng.integers(3, 7))
        texts.append(" ".join(["Subject: number", str(number), *own, *rng.choice(COMMON, rng.integers(3, 9))]))
    labels = np.where(spam, "spam", "ham")
    paths = [f"enron1/{label}/{number:04d}.txt" for number, label in enumerate(labels)]
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"source_path": paths, "label": labels, "text": texts}), folder / "enron1.parquet")


def test_every_score_is_measured_and_fixing_helps(tmp_path: Path, measured: Callable[..., dict[str, Any]]) -> None:
    write_mails(tmp_path / "data/enron1")
    metrics = measured(spam, tmp_path / "data", fewest=2, seeds=2)
    assert metrics["n"] == 192 and metrics["flipped"] == 19 and metrics["test_examples"] == 24
    for kind in KINDS:
        found = metrics[kind]
        for name in ("self_influence", "leave_one_out_loss", "tfidf_loss", "neighbours", "flags"):
            assert found[name]["recall"]["30"][0] > 0.8 > found["random"]["recall"]["30"][0], (kind, name)
            assert found[name]["auroc"][0] > 0.9
            assert found[name]["test_accuracy"]["30"][0] >= found["test_accuracy_flipped"][0]
        assert found["random"]["recall"]["10"][0] == pytest.approx(0.1)
        assert found["flags_error_log_odds"]["recall"]["10"][0] > 0.5


def test_only_ham_is_changed_where_the_class_decides() -> None:
    labels = np.array([0, 1] * 50)
    changed = flip(labels, CONDITIONAL, 0.2, np.random.default_rng(0))
    assert (changed != labels).sum() == 20 and np.all(labels[changed != labels] == 0)
    changed = flip(labels, UNIFORM, 0.2, np.random.default_rng(0))
    assert (changed != labels).sum() == 20 and set(labels[changed != labels]) == {0, 1}


def test_the_flags_are_those_of_a_pipeline_set_up_by_init(tmp_path: Path) -> None:
    write_mails(tmp_path / "data")
    data = sniff(tmp_path / "data/enron1.parquet", Hints(label="label", text="text"))
    values = {"data": data, "path": "mails", "factory": data.factory, "training": data.training, "version": "1.0.0"}
    (tmp_path / "params.yaml").write_text(render("params.yaml", **values))
    written, used = load_parameters(tmp_path / "params.yaml"), shipped.parameters(seed=0)
    assert (written.train, written.flag, written.compute) == (used.train, used.flag, used.compute)
    assert written.prepare.source.model_dump() == used.prepare.source.model_dump()
    assert written.precondition.damping == used.precondition.damping


def test_a_folder_of_texts_is_the_same_as_the_table(tmp_path: Path) -> None:
    write_mails(tmp_path / "table")
    table = load_mails(tmp_path / "table")
    for number, (text, label) in enumerate(zip(table.texts, table.spam, strict=True)):
        path = tmp_path / "folder" / ("spam" if label else "ham") / f"{number:04d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((text + " café").encode("latin-1"))
    folder = load_mails(tmp_path / "folder")
    assert folder.texts == [text + " café" for text in table.texts]
    assert folder.spam.tolist() == table.spam.tolist()
    with pytest.raises(UserError, match="must be Enron1"):
        load_mails(tmp_path)


def test_words_are_letters_that_enough_training_mails_hold(tmp_path: Path) -> None:
    write_mails(tmp_path / "data")
    mails = load_mails(tmp_path / "data")
    counts, again = count_words(mails, mails, fewest=5)
    assert abs(counts - again).max() == 0
    assert counts.min() == 0 and (counts > 0).sum(axis=0).min() >= 5
    words = {"subject", *OF_HAM, *OF_SPAM, *COMMON} - ENGLISH_STOP_WORDS
    assert counts.shape == (len(mails), len(words)), "no numbers and no stop words"
