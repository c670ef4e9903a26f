from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import hospital
from experiments.common.diabetes import (
    CATEGORIES,
    CHILD,
    FILE,
    NUMBERS,
    Stays,
    load_stays,
    split,
    without_most_children,
)
from tasks.errors import UserError

PATIENTS, PER_CLASS = 3000, 500


def write_stays(folder: Path) -> None:
    """A hospital in which the number of stays decides, whatever the age; one in thirty patients is a child."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    table = pd.DataFrame({name: rng.integers(0, 10, PATIENTS) for name in NUMBERS})
    for name in CATEGORIES:
        table[name] = rng.choice(["No", "Up", "None"] if name == "max_glu_serum" else ["No", "Yes"], PATIENTS)
    table["age"] = np.where(rng.random(PATIENTS) < 1 / 30, "[0-10)", rng.choice(["[50-60)", "[60-70)"], PATIENTS))
    chance = 1 / (1 + np.exp(4.0 - table["number_inpatient"]))
    table["readmitted"] = np.where(rng.random(PATIENTS) < chance, "<30", rng.choice(["NO", ">30"], PATIENTS))
    table.to_csv(folder / FILE, index=False)


def test_categories_become_indicators_and_words_stay_words(tmp_path: Path) -> None:
    write_stays(tmp_path / "stays")
    stays = load_stays(tmp_path / "stays")
    table = pd.read_csv(tmp_path / "stays" / FILE, keep_default_na=False)
    assert stays.features.shape == (PATIENTS, len(NUMBERS) + (len(CATEGORIES) - 2) + 3 + 3)
    assert {"max_glu_serum_None", "gender_Yes", CHILD} < set(stays.names) and "gender_No" not in stays.names
    assert stays.children.tolist() == (table["age"] == "[0-10)").tolist()
    assert stays.readmitted.tolist() == (table["readmitted"] == "<30").astype(int).tolist()
    assert torch.equal(stays.features[:, 0], torch.tensor(table[NUMBERS[0]]).double())


def test_the_training_set_is_balanced_and_loses_its_children(tmp_path: Path) -> None:
    write_stays(tmp_path / "stays")
    train, test = split(load_stays(tmp_path / "stays"), PER_CLASS, seed=2)
    assert int(train.readmitted.sum()) == PER_CLASS and len(train.readmitted) == 2 * PER_CLASS
    assert len(test.readmitted) == PATIENTS - 2 * PER_CLASS
    modified = without_most_children(train)
    left = modified.readmitted[modified.children]
    assert len(left) == int(train.readmitted[train.children].sum()) + 1
    assert int((left == 0).sum()) == 1
    assert int((~modified.children).sum()) == int((~train.children).sum())


def test_newton_repairs_what_influence_misses_on_the_children(
    tmp_path: Path, measured: Callable[..., dict[str, Any]]
) -> None:
    write_stays(tmp_path / "data/diabetes130")
    _, test = split(load_stays(tmp_path / "data/diabetes130"), PER_CLASS, seed=2)
    wanted = (test.children & (test.readmitted == 0)).nonzero().squeeze(1)
    metrics = measured(hospital, tmp_path / "data", per_class=PER_CLASS, test_patient=int(wanted[0]), left_out=30)
    assert metrics["p_after"] > metrics["p_before"]
    assert metrics["newton_rel_error"] < 0.3 * metrics["influence_rel_error"]
    assert metrics["misled_test_children"] > 0
    with pytest.raises(UserError, match="is not a child"):
        adult = int((~test.children).nonzero()[0])
        measured(hospital, tmp_path / "data", per_class=PER_CLASS, test_patient=adult)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"holds no {FILE}"):
        load_stays(tmp_path)
    pd.DataFrame({"age": ["[0-10)"]}).to_csv(tmp_path / FILE)
    with pytest.raises(UserError, match="has no column 'time_in_hospital'"):
        load_stays(tmp_path)


def test_the_rank_of_the_age_counts_ties_against_it() -> None:
    names = ["a", CHILD, "b"]
    assert hospital.age_rank(torch.tensor([[1.0, 2.0, 3.0], [0.0, 2.0, 1.0], [2.0, 2.0, 2.0]]), names).tolist() == [
        2,
        1,
        3,
    ]


def test_a_feature_contributes_what_the_child_has_of_it() -> None:
    stays = Stays(
        torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 5.0], [0.0, 1.0, 0.5]]), torch.tensor([0, 1, 1]), ["a", CHILD, "b"]
    )
    slopes = torch.tensor([[9.0, -2.0, 0.5], [-9.0, 2.0, -1.0]])
    assert hospital.contributions(slopes, stays).tolist() == [[0.0, 2.0, 1.0], [0.0, 2.0, 0.5]]
    assert int(hospital.notebook_rank(slopes, stays)) == 1, "of the first child the age alone pulls down"
    assert int(hospital.notebook_rank(slopes * torch.tensor([-1.0, 1.0, 1.0]), stays)) == 2
