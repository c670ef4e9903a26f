"""Two models on one prediction, against dense linear algebra of each."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from dense_system import dense_system
from scipy.stats import spearmanr
from stage_runner import run_in

from tasks import precondition, train
from tasks.artifacts import PREDICTIONS, prepared_schema, read_json, read_table, write_json, write_table
from tasks.compare import compare, most_disputed, rank_correlation
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.explain import explain
from tasks.objects import import_paths, load_object
from tasks.parameters import load_parameters
from tasks.workspace import SPLITS, Workspace

QUERY = "validation-0011"


@pytest.fixture(scope="module")
def rival(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scored workspace's data under another model."""
    root = tmp_path_factory.mktemp("rivals") / "rival"
    shutil.copytree(scored, root)
    content = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    content["train"] = {**content["train"], "factory": "logistic", "arguments": {}}
    (root / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for stage in (train.run, precondition.run):
        run_in(root, stage)
    return root


def exact(workspace: Workspace) -> np.ndarray:
    """Influence of every training example on the query, [N]."""
    system = dense_system(workspace, load_parameters(workspace.parameters))
    position = load_split(workspace, "validation").ids.index(QUERY)
    found: np.ndarray = system.pairwise(system.queries[position : position + 1])[0].numpy()
    return found


def test_both_sides_are_what_explain_says_and_their_agreement_is_measured(scored: Path, rival: Path) -> None:
    workspaces = (Workspace(scored), Workspace(rival))
    found = compare(*workspaces, QUERY, k=7)
    influences = [exact(workspace) for workspace in workspaces]
    assert found.shared == 150
    assert found.rank_correlation == pytest.approx(spearmanr(*influences).statistic, abs=2e-3)
    helpful, harmful = ([set(np.argsort(sign * one)[:7]) for one in influences] for sign in (-1, 1))
    assert abs(found.both_helpful - len(helpful[0] & helpful[1])) <= 1  # a near tie may fall either way
    assert abs(found.both_harmful - len(harmful[0] & harmful[1])) <= 1
    for side, workspace, influence in zip(found.sides, workspaces, influences, strict=True):
        assert side.explanation == explain(workspace, load_parameters(workspace.parameters), QUERY, k=7)
        split = load_split(workspace, "train")
        query = load_split(workspace, "validation")
        position = query.ids.index(QUERY)
        distance = np.linalg.norm(np.asarray(split.inputs) - np.asarray(query.inputs)[position], axis=1)
        assert side.distance_correlation == pytest.approx(spearmanr(np.abs(influence), distance).statistic, abs=2e-3)
        same = (split.labels == query.labels[position]).numpy()
        assert side.helpful_same == pytest.approx(float((influence[same] > 0).mean()), abs=0.04)
        assert side.helpful_other == pytest.approx(float((influence[~same] > 0).mean()), abs=0.04)
        assert sorted(point.distance for point in side.points) == pytest.approx(sorted(distance), rel=1e-5)
        assert sum(point.same_label for point in side.points) == same.sum()
        row = next(row for row in read_table(workspace.predictions).to_pylist() if row["example_id"] == QUERY)
        classes = read_json(workspace.encoding)["classes"]
        assert side.probability == row["probabilities"][classes.index(row["label"])]


def test_a_model_agrees_with_itself(scored: Path) -> None:
    found = compare(Workspace(scored), Workspace(scored), QUERY, k=5)
    assert found.rank_correlation == pytest.approx(1.0)
    assert found.both_helpful == found.both_harmful == 5
    assert all(found.common(one.example_id) for one in found.sides[0].explanation.helpful)


def test_without_a_query_it_takes_the_most_disputed(scored: Path, rival: Path) -> None:
    tables = [read_table(Workspace(root).predictions).to_pylist() for root in (scored, rival)]
    apart = {
        one["example_id"]: np.abs(np.subtract(one["probabilities"], other["probabilities"])).sum()
        for one, other in zip(*tables, strict=True)
        if one["split"] != "train"
    }
    expected = max(apart, key=lambda example_id: apart[example_id])
    assert most_disputed(Workspace(scored), Workspace(rival)) == expected
    assert compare(Workspace(scored), Workspace(rival), k=2).query_id == expected


def test_only_shared_training_examples_count(scored: Path, rival: Path, tmp_path: Path) -> None:
    part = Workspace(tmp_path / "part")
    shutil.copytree(rival, part.root)
    rename(part, lambda split, row, example_id: f"other-{row}" if split == "train" and row >= 60 else example_id)
    found = compare(Workspace(scored), part, QUERY, k=7)
    influences = [exact(workspace)[:60] for workspace in (Workspace(scored), Workspace(rival))]
    assert found.shared == 60
    assert found.rank_correlation == pytest.approx(spearmanr(*influences).statistic, abs=5e-3)


def rename(workspace: Workspace, new: Callable[[str, int, str], str]) -> None:
    """Give the examples of a workspace other ids, in the data and in the predictions."""
    predictions = read_table(workspace.predictions)
    ids = []
    for split in SPLITS:
        table = read_table(workspace.split(split))
        renamed = [new(split, row, example_id.as_py()) for row, example_id in enumerate(table["example_id"])]
        table = table.set_column(0, "example_id", pa.array(renamed))
        write_table(workspace.split(split), table, prepared_schema(table["input"].type))
        ids += renamed
    write_table(workspace.predictions, predictions.set_column(0, "example_id", pa.array(ids)), PREDICTIONS)


def test_workspaces_with_nothing_in_common_are_named(scored: Path, rival: Path, tmp_path: Path) -> None:
    strange = Workspace(tmp_path / "strange")
    shutil.copytree(rival, strange.root)
    rename(strange, lambda split, row, example_id: f"{split}/{row}")
    with pytest.raises(UserError, match=r"share no example that neither was trained on: name one with --query"):
        compare(Workspace(scored), strange)
    with pytest.raises(UserError, match=r"no example has the id 'validation-0011'"):
        compare(Workspace(scored), strange, QUERY)
    rename(strange, lambda split, row, example_id: QUERY if example_id == "test/3" else example_id)
    with pytest.raises(UserError, match=r"and strange share 0 training examples: there is nothing to compare"):
        compare(Workspace(scored), strange, QUERY)
    encoding = read_json(strange.encoding)
    write_json(strange.encoding, {**encoding, "classes": ["else", *encoding["classes"][1:]]})
    with pytest.raises(UserError, match=r"not tell the same classes apart: only \S*scored\d* has 'class 0'; set"):
        compare(Workspace(scored), strange, QUERY)


def test_a_folder_that_is_no_workspace_is_named(scored: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml is missing: change to a workspace"):
        compare(Workspace(scored), Workspace(tmp_path), QUERY)


def test_modules_of_the_same_name_are_not_mixed_up(tmp_path: Path) -> None:
    answers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own_models_of_a_test.py").write_text(f"def answer(): return {name!r}\n")
        with import_paths(tmp_path / name):
            answers.append(load_object("own_models_of_a_test:answer", "train.factory")())
    assert answers == ["one", "two"]


def test_a_rank_correlation_of_a_constant_is_none() -> None:
    assert rank_correlation(np.ones(4), np.arange(4.0)) is None
    assert rank_correlation(np.arange(4.0), np.arange(4.0) ** 3) == pytest.approx(1.0)
