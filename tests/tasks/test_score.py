"""The score stage on a real trained model: against dense linear algebra, sharded, starved of memory, killed, stale."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from dense_system import dense_system
from stage_runner import kill_after_the_first_shard, run_command, run_in

from tasks import precondition
from tasks.artifacts import PROVENANCE, SCORES, SELF_INFLUENCE, TOP, content_hash, read_json, read_table
from tasks.dataset import load_split
from tasks.parameters import load_parameters
from tasks.problem import load_ekfac, load_gradients
from tasks.query_choice import misread
from tasks.score import load_queries, run
from tasks.workspace import SplitName, Workspace

CPU = torch.device("cpu")


def outputs(workspace: Workspace) -> list[bytes]:
    return [workspace.top.read_bytes(), workspace.self_influence.read_bytes()]


def rows(workspace: Workspace) -> dict[tuple[str, str], list[tuple[str, float]]]:
    """The kept scores of every query's tails, in the order of the file."""
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for row in read_table(workspace.top).to_pylist():
        tail = found.setdefault((row["query_id"], row["tail"]), [])
        tail.append((row["example_id"], row["influence"]))
        assert row["rank"] == len(tail)
    return found


def test_the_kept_scores_are_the_extremes_of_the_full_matrix(scored: Path) -> None:
    workspace = Workspace(scored)
    parameters = load_parameters(workspace.parameters)
    system, queries, train = (
        dense_system(workspace, parameters),
        load_queries(workspace, CPU),
        load_split(workspace, "train"),
    )
    full = (system.flat(queries.solutions) @ system.shares.T / len(train)).numpy()
    found = rows(workspace)
    assert list(found) == [(name, tail) for name in queries.ids for tail in ("helpful", "harmful")]
    for position, query in enumerate(queries.ids):
        for tail, order in (("helpful", np.argsort(-full[position])), ("harmful", np.argsort(full[position]))):
            expected = [(train.ids[index], full[position, index]) for index in order[:7]]
            kept = found[query, tail]
            assert [name for name, _ in kept] == [name for name, _ in expected]
            assert [value for _, value in kept] == pytest.approx([value for _, value in expected], rel=1e-3)
            assert all((value > 0) == (tail == "helpful") for _, value in kept)


def test_the_scores_are_those_of_an_exact_solution(scored: Path) -> None:
    """Nothing but the solver's tolerance lies between them and (G + shift)^-1 solved directly."""
    workspace = Workspace(scored)
    system = dense_system(workspace, load_parameters(workspace.parameters))
    validation, train = load_split(workspace, "validation"), load_split(workspace, "train")
    full = system.pairwise(system.queries)
    for (query, _), kept in rows(workspace).items():
        exact = full[validation.ids.index(query)]
        for name, value in kept:
            assert value == pytest.approx(float(exact[train.ids.index(name)]), abs=2e-3 * float(exact.abs().max()))


def test_self_influence_is_the_quadratic_form_of_the_fitted_curvature(scored: Path) -> None:
    workspace = Workspace(scored)
    parameters, train = load_parameters(workspace.parameters), load_split(workspace, "train")
    system = dense_system(workspace, parameters)
    ekfac, damping = load_ekfac(workspace, load_gradients(workspace, parameters, train, CPU))
    sizes = {name: value.shape for name, value in ekfac.gradients.problem.parameters.items()}
    count = ekfac.gradients.problem.parameter_count
    pieces = torch.eye(count).split([sizes[name].numel() for name in system.names], dim=1)
    identity = {name: part.view(count, *sizes[name]) for name, part in zip(system.names, pieces, strict=True)}
    matrix = system.flat(ekfac @ identity) + (damping + parameters.train.weight_decay) * torch.eye(count).double()
    expected = (system.gradients * torch.linalg.solve(matrix, system.shares.T).T).sum(dim=1) / len(train)
    table = read_table(workspace.self_influence)
    assert table["example_id"].to_pylist() == train.ids
    assert table["self_influence"].to_pylist() == pytest.approx(expected.tolist(), rel=1e-3)


def test_influence_on_the_errors_is_summed_over_all_misread_validation_examples(scored: Path) -> None:
    workspace = Workspace(scored)
    system = dense_system(workspace, load_parameters(workspace.parameters))
    wrong = misread(workspace, load_split(workspace, "validation"))
    assert 1 < wrong.sum() == read_json(workspace.curvature_report)["misread"]
    expected = system.pairwise(system.queries[torch.from_numpy(wrong)].sum(dim=0, keepdim=True))[0]
    found = torch.tensor(read_table(workspace.self_influence)["influence_on_errors"].to_pylist())
    assert float((found - expected).norm()) <= 2e-3 * float(expected.norm())


def test_the_loss_without_an_example_is_above_its_loss_and_nearer_to_it_for_what_others_say_too(scored: Path) -> None:
    table, own = read_table(Workspace(scored).self_influence), read_table(Workspace(scored).predictions)
    left_out, loss = table["leave_one_out_loss"].to_numpy(), own["loss"].to_numpy()[:150]
    assert (left_out >= loss - 0.02).mean() > 0.97  # the pull of the regularisation alone can lower it
    assert np.corrcoef(left_out - loss, table["self_influence"].to_numpy())[0, 1] > 0.5
    assert "one Newton step of layer 'output'" in json.loads(table.schema.metadata[SCORES])["leave_one_out_loss"]


def test_the_files_say_what_they_hold(scored: Path) -> None:
    workspace = Workspace(scored)
    report = read_json(workspace.curvature_report)
    for path, schema in ((workspace.top, TOP), (workspace.self_influence, SELF_INFLUENCE)):
        found = read_table(path).schema
        assert found.remove_metadata() == schema
        meaning = json.loads(found.metadata[SCORES])
        assert (meaning["unit"], meaning["n"], meaning["damping"]) == ("nats", 150, report["damping"])
        inputs = json.loads(found.metadata[PROVENANCE])["inputs"]
        assert inputs == {name: content_hash(scored / name) for name in inputs}
        assert "model/weights.safetensors" in inputs
    queries = load_queries(workspace, CPU)
    pairwise = json.loads(read_table(workspace.top).schema.metadata[SCORES])
    assert pairwise["sign"] == "positive: helpful; negative: harmful"
    assert pairwise["relative_residual"] == dict(zip(queries.ids, queries.residual.tolist(), strict=True))


@pytest.mark.parametrize(
    "change",
    [{"score": {"shards": 1}}, {"score": {"shards": 150}}, {"compute": {"memory_limit": "1MiB"}}],
    ids=["one shard", "a shard an example", "little memory"],
)
def test_shards_and_memory_change_no_score(
    scored: Path, copy_scored: Callable[..., Workspace], change: dict[str, dict[str, object]]
) -> None:
    workspace = copy_scored("copy", **change)
    run_in(workspace.root, run)
    ours, theirs = rows(workspace), rows(Workspace(scored))
    assert {key: [name for name, _ in kept] for key, kept in ours.items()} == {
        key: [name for name, _ in kept] for key, kept in theirs.items()
    }
    for key, kept in theirs.items():
        assert [value for _, value in ours[key]] == pytest.approx([value for _, value in kept], rel=1e-4)
    own = [read_table(found.self_influence)["self_influence"].to_pylist() for found in (workspace, Workspace(scored))]
    assert own[0] == pytest.approx(own[1], rel=1e-4)


def test_two_runs_give_the_same_bytes_and_leave_no_shards(scored: Path, copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("again")
    run_in(workspace.root, run)
    assert outputs(workspace) == outputs(Workspace(scored))
    assert len(list((workspace.work / "score").glob("*/*.safetensors"))) == 3


def test_fewer_examples_than_k_are_all_kept(copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("copy", score={"k": 500})
    run_in(workspace.root, run)
    found = rows(workspace)
    for query in {query for query, _ in found}:
        assert len(found[query, "helpful"]) + len(found[query, "harmful"]) == 150


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(scored: Path, copy_scored: Callable[..., Workspace]) -> None:
    workspace = copy_scored("killed")
    for path in (workspace.top, workspace.self_influence):
        path.unlink()
    shutil.rmtree(workspace.work)
    kill_after_the_first_shard(workspace.root, "score")
    assert not workspace.top.exists() and not workspace.self_influence.exists()
    assert "score: 1 shards reused, 2 to do" in run_command(workspace.root, "score")
    assert outputs(workspace) == outputs(Workspace(scored))


def test_a_relabelled_row_costs_its_own_shard_and_nothing_is_stale(
    copy_scored: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights being the same, all else is met again: the curvature, the solutions and the other shards."""
    workspace, fresh = copy_scored("incremental"), copy_scored("fresh")
    before = read_table(workspace.self_influence)["self_influence"].to_pylist()
    for changed in (workspace, fresh):
        relabel(changed, row=3)
    shutil.rmtree(fresh.work)
    capsys.readouterr()
    for stage in (precondition.run, run):
        run_in(workspace.root, stage)
    said = capsys.readouterr().out
    assert said.count("precondition: 1 shards reused, 0 to do") == 3, "factors, queries, the sum of the errors"
    assert "score: 2 shards reused, 1 to do" in said
    for stage in (precondition.run, run):
        run_in(fresh.root, stage)
    assert "reused" not in capsys.readouterr().out
    assert outputs(workspace) == outputs(fresh)
    after = read_table(workspace.self_influence)["self_influence"].to_pylist()
    assert after[3] != pytest.approx(before[3], rel=0.1)


def test_a_query_of_another_label_is_solved_for_anew(
    copy_scored: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = copy_scored("query")
    relabel(workspace, row=int(load_queries(workspace, CPU).ids[0].split("-")[1]), split="validation")
    run_in(workspace.root, precondition.run)
    assert capsys.readouterr().out.count("precondition: 1 shards reused, 0 to do") == 1, "the factors alone"


def test_finished_shards_are_met_again_where_nothing_changed(
    scored: Path, copy_scored: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    """The other side of the tests above: without a change all shards are reused."""
    workspace = copy_scored("copy")
    run_in(workspace.root, run)
    assert "score: 3 shards reused, 0 to do" in capsys.readouterr().out
    assert outputs(workspace) == outputs(Workspace(scored))


def relabel(workspace: Workspace, row: int, split: SplitName = "train") -> None:
    """Give one example the next label, as a review does."""
    table = pq.read_table(workspace.split(split))
    labels = table["label"].to_pylist()
    labels[row] = f"class {(int(labels[row].split()[1]) + 1) % 4}"
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", pa.array(labels)), workspace.split(split))
