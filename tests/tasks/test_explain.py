"""One prediction explained, against the scores of the pipeline and against dense linear algebra."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dense_system import dense_system

from tasks.artifacts import read_json, read_table
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.explain import explain
from tasks.parameters import load_parameters
from tasks.workspace import Workspace


def test_a_query_of_the_pipeline_gets_the_same_scores(scored: Path) -> None:
    workspace = Workspace(scored)
    top = read_table(workspace.top).to_pylist()
    predicted = {row["example_id"]: row for row in read_table(workspace.predictions).to_pylist()}
    for query in dict.fromkeys(row["query_id"] for row in top):
        explanation = explain(workspace, load_parameters(workspace.parameters), query, k=7)
        assert explanation.split == "validation"
        assert explanation.residual <= 1.1e-4
        assert explanation.damping == pytest.approx(read_json(workspace.curvature_report)["damping"])
        for field in ("label", "predicted", "loss"):
            assert getattr(explanation, field) == predicted[query][field]
        for tail in ("helpful", "harmful"):
            theirs = {
                row["example_id"]: row["influence"] for row in top if (row["query_id"], row["tail"]) == (query, tail)
            }
            ours = {found.example_id: found.influence for found in getattr(explanation, tail)}
            largest = max(map(abs, theirs.values()))
            assert len(ours) == 7 and len(ours.keys() & theirs.keys()) >= 6  # a near tie may fall either way
            for name in ours.keys() & theirs.keys():
                assert ours[name] == pytest.approx(theirs[name], abs=2e-3 * largest)
            for found in getattr(explanation, tail):
                assert (found.label, found.predicted) == tuple(
                    predicted[found.example_id][key] for key in ("label", "predicted")
                )


def test_a_training_example_is_explained_exactly(scored: Path) -> None:
    workspace = Workspace(scored)
    parameters, train = load_parameters(workspace.parameters), load_split(workspace, "train")
    system = dense_system(workspace, parameters)
    explanation = explain(workspace, parameters, train.ids[5], k=3)
    exact = system.pairwise(system.gradients[5:6])[0].numpy()
    assert explanation.split == "train"
    assert [found.example_id for found in explanation.helpful] == [train.ids[i] for i in np.argsort(-exact)[:3]]
    assert [found.example_id for found in explanation.harmful] == [train.ids[i] for i in np.argsort(exact)[:3]]
    assert [found.influence for found in explanation.helpful] == pytest.approx(np.sort(-exact)[:3] * -1, rel=1e-2)
    assert explanation.helpful[0].influence > 0 > explanation.harmful[0].influence


def test_a_test_example_is_a_query_too(scored: Path) -> None:
    workspace = Workspace(scored)
    explanation = explain(workspace, load_parameters(workspace.parameters), "test-0007", k=2)
    assert explanation.split == "test" and len(explanation.helpful) == len(explanation.harmful) == 2


def test_an_unknown_id_says_where_ids_are(scored: Path) -> None:
    workspace = Workspace(scored)
    with pytest.raises(UserError, match=r"no example has the id '../<b>': ids are in the column example_id of .*prep"):
        explain(workspace, load_parameters(workspace.parameters), "../<b>")


def test_what_has_not_run_yet_is_named(copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("copy")
    workspace.factors.unlink()
    with pytest.raises(UserError, match=r"factors\.safetensors is missing"):
        explain(workspace, load_parameters(workspace.parameters), "test-0007")


@pytest.mark.parametrize("split", ["train", "test"])
def test_data_prepared_anew_since_train_are_refused(
    copy_scored: Callable[..., Workspace], make_prepared: Callable[..., Workspace], tmp_path: Path, split: str
) -> None:
    workspace = copy_scored("copy")
    other = make_prepared(tmp_path / "other", kind="table", count=151, held_out=61, classes=4)
    workspace.split(split).write_bytes(other.split(split).read_bytes())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"is not of the examples in .*prepared: rerun train and precondition"):
        explain(workspace, load_parameters(workspace.parameters), f"{split}-0060")
