"""The gradient index on a real trained model: exact where it keeps everything, incremental, refused when stale."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from stage_runner import kill_after_the_first_shard, run_command, run_in
from test_score import relabel

from influence.scores import Compressed, Pairwise
from tasks import precondition
from tasks.artifacts import ANSWERS, SCORES, read_json, read_table
from tasks.dataset import load_split
from tasks.errors import UserError
from tasks.frozen import Answer, Answers, explain_frozen
from tasks.index import Index, run
from tasks.index_search import search
from tasks.index_shards import IndexShard, read_index_shard
from tasks.parameters import load_parameters
from tasks.precondition import query_gradients
from tasks.problem import load_ekfac, load_gradients
from tasks.workspace import Workspace

Copy = Callable[..., Workspace]
EVERYTHING = {"coordinates": 10_000, "precision": "float32", "shards": 5}
QUERY = "test-0007"


@pytest.fixture
def copy(copy_scored: Copy) -> Copy:
    """`copy("name", coordinates=16)`: a copy of the scored workspace, with these settings of the index."""

    def made(name: str, **settings: object) -> Workspace:
        workspace = copy_scored(name)
        content = workspace.parameters.read_text(encoding="utf-8") + f"index: { ({**EVERYTHING, **settings}) }\n"
        workspace.parameters.write_text(content, encoding="utf-8")
        return workspace

    return made


def built(workspace: Workspace) -> Index:
    run_in(workspace.root, run)
    return Index(**read_json(workspace.index))


def ask(workspace: Workspace, query: str = QUERY, k: int = 150) -> Answers:
    return explain_frozen(workspace, load_parameters(workspace.parameters), query, k)


def influences(answer: Answer) -> dict[str, float]:
    return {found.example_id: found.influence for found in [*answer.helpful, *answer.harmful]}


def files(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.index.parent.iterdir()}


def exact(workspace: Workspace, query: str) -> dict[str, float]:
    """Influence by EK-FAC, inverted in closed form, pair by pair."""
    parameters, cpu = load_parameters(workspace.parameters), torch.device("cpu")
    train, test = load_split(workspace, "train"), load_split(workspace, "test")
    gradients = load_gradients(workspace, parameters, train, cpu)
    ekfac, damping = load_ekfac(workspace, gradients)
    right = query_gradients(gradients, *test.batch(np.array([test.ids.index(query)])))
    inverted = ekfac.power(right, -1.0, damping + parameters.train.weight_decay)
    scores = Pairwise(gradients, inverted, len(train)).batch(*train.batch(slice(None)))[0]
    return dict(zip(train.ids, scores.tolist(), strict=True))


def test_an_index_of_everything_gives_the_exact_scores_of_its_curvature(copy: Copy) -> None:
    workspace = copy("all")
    index = built(workspace)
    assert (index.examples, index.coordinates, index.parameters) == (150, 92, 92)
    assert index.share == 1.0 and index.recall["EK-FAC"] > 0.99, "but for near ties"
    solver = read_json(workspace.curvature_report)["solver"]
    assert set(index.recall) == {"EK-FAC", solver} and index.recall[solver] < 1
    answers = ask(workspace)
    found, truth = influences(answers.answers[0]), exact(workspace, QUERY)
    assert found == pytest.approx(truth, abs=1e-5 * max(map(abs, truth.values())))
    predicted = {row["example_id"]: row for row in read_table(workspace.predictions).to_pylist()}
    (answer,) = answers.answers
    assert (answer.split, answer.label, answer.predicted) == (
        "test",
        *(predicted[QUERY][key] for key in ("label", "predicted")),
    )
    assert answer.loss == pytest.approx(predicted[QUERY]["loss"], rel=1e-4)
    for neighbour in answer.helpful + answer.harmful:
        own = predicted[neighbour.example_id]
        assert (neighbour.label, neighbour.predicted) == (own["label"], own["predicted"])
    assert [found.influence for found in answer.helpful] == sorted(
        (found.influence for found in answer.helpful), reverse=True
    )


def test_the_answers_say_that_the_model_was_frozen(copy: Copy) -> None:
    workspace = copy("said", coordinates=16)
    index = built(workspace)
    table = read_table(ask(workspace, k=3).table)
    assert table.schema.remove_metadata() == ANSWERS and len(table) == 6
    assert set(table["model"].to_pylist()) == {index.model}
    assert f'"recall": {{"EK-FAC": {index.recall["EK-FAC"]}'.encode() in table.schema.metadata[SCORES]
    assert b"frozen_model" in table.schema.metadata[SCORES] and b'"n": 150' in table.schema.metadata[SCORES]


def test_the_recall_grows_with_the_size_and_a_byte_a_coordinate_is_enough(copy: Copy) -> None:
    found = [built(copy(f"{size}", coordinates=size)) for size in (2, 12, 48)]
    recalls = [index.recall["EK-FAC"] for index in found]
    assert recalls == sorted(recalls) and recalls[0] < recalls[-1] - 0.05 and recalls[-1] > 0.9
    assert [index.coordinates for index in found] == [2, 12, 48]
    rounded = built(copy("rounded", coordinates=48, precision="int8"))
    assert rounded.recall["EK-FAC"] == pytest.approx(recalls[-1], abs=0.01)
    assert rounded.bytes_per_example < found[-1].bytes_per_example - 2 * 48


def test_the_recall_is_measured_on_a_bounded_number_of_queries(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs every shard its exact top."""
    monkeypatch.setattr("tasks.index.MOST_QUERIES", 4)
    index = built(copy("few"))
    assert index.queries == 4 and index.recall["EK-FAC"] > 0.99


@pytest.mark.parametrize("shards", [1, 150])
def test_the_number_of_shards_changes_no_answer(copy: Copy, shards: int) -> None:
    five, other = copy("five", coordinates=16), copy("other", coordinates=16, shards=shards)
    assert built(five).recall == pytest.approx(built(other).recall, abs=1e-3)
    ours, theirs = (influences(ask(workspace).answers[0]) for workspace in (five, other))
    assert len(ours) == 150 and ours == pytest.approx(theirs, rel=1e-4, abs=1e-9)


def test_little_memory_changes_no_answer_and_bounds_what_is_held(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = copy("memory", coordinates=16)
    index = built(workspace)
    shards = [read_index_shard(workspace.index_shard(name)) for name in index.shards]
    queries, offsets = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)), torch.zeros(3)
    held: list[int] = []
    whole = Compressed.scores

    def counted(self: Compressed, *arguments: object) -> torch.Tensor:
        held.append(len(self.values))
        return whole(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Compressed, "scores", counted)
    plenty = search(shards, queries, offsets, 150, 9, memory=2**30)
    assert sum(held) == 150 and len(held) == len(shards)
    held.clear()
    scarce = search(shards, queries, offsets, 150, 9, memory=1024)
    assert sum(held) == 150 and max(held) == 1024 // (8 * (16 + 4 * 3))
    for name, kept in plenty.state().items():
        torch.testing.assert_close(scarce.state()[name], kept)


def test_shards_are_mapped_and_not_read(copy: Copy) -> None:
    workspace = copy("mapped")
    index = built(workspace)
    shard: IndexShard = read_index_shard(workspace.index_shard(next(iter(index.shards))))
    assert not shard.values.flags.owndata and not shard.values.flags.writeable
    assert shard.values.shape == (next(iter(index.shards.values())), 92)


def test_a_changed_row_costs_one_shard_and_the_index_is_that_of_a_fresh_build(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, fresh = copy("workspace"), copy("fresh")
    built(workspace)
    before = files(workspace)
    for changed in (workspace, fresh):
        relabel(changed, row=3)
    assert ask(workspace).outdated
    capsys.readouterr()
    built(workspace)
    assert "index: 4 shards reused, 1 to do" in capsys.readouterr().out
    built(fresh)
    assert "reused" not in capsys.readouterr().out
    assert files(workspace) == files(fresh)
    assert len(set(files(workspace)) - set(before)) == 1 == len(set(before) - set(files(workspace)))
    assert not ask(workspace).outdated


def test_other_weights_or_another_curvature_are_refused(copy: Copy) -> None:
    workspace = copy("stale")
    with pytest.raises(UserError, match=r"index\.json is missing: build the index with `influence index`"):
        ask(workspace)
    built(workspace)
    kept = workspace.weights.read_bytes(), workspace.factors.read_bytes()
    for path, content in zip((workspace.weights, workspace.factors), kept, strict=True):
        tensors = load_file(path)
        name = next(iter(tensors))
        save_file({**tensors, name: tensors[name] + 0.1}, path)
        with pytest.raises(UserError, match="built for other weights, another curvature or another encoding"):
            ask(workspace)
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"no example has the id 'nobody'.*nor is there a file 'nobody'"):
        ask(workspace, "nobody")
    assert ask(workspace, k=1).answers[0].query_id == QUERY


def test_a_damaged_or_missing_shard_is_told_and_built_again(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = copy("damaged")
    first, second, *_ = built(workspace).shards
    whole = files(workspace)
    path = workspace.index_shard(first)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"\.arrow is damaged .*build it again with `influence index`"):
        ask(workspace)
    other = copy("smaller", coordinates=16)
    built(other)
    path.write_bytes(other.index_shard(first).read_bytes())
    with pytest.raises(UserError, match=r"is not of the index that .*index\.json describes: build it again"):
        ask(workspace)
    workspace.index_shard(second).unlink()
    capsys.readouterr()
    built(workspace)
    assert "index: 3 shards reused, 2 to do" in capsys.readouterr().out
    assert files(workspace) == whole


@pytest.mark.slow
def test_a_killed_build_is_no_index_and_goes_on(copy: Copy) -> None:
    workspace, whole = copy("killed"), copy("whole")
    kill_after_the_first_shard(workspace.root, "index")
    with pytest.raises(UserError, match="one that was killed goes on"):
        ask(workspace)
    assert "index: 1 shards reused, 4 to do" in run_command(workspace.root, "index")
    built(whole)
    assert files(workspace) == files(whole)


def test_a_run_that_inverts_ekfac_itself_has_one_recall(copy: Copy) -> None:
    workspace = copy("ekfac")
    text = workspace.parameters.read_text().replace("precondition:", "precondition:\n  curvature: EK-FAC")
    workspace.parameters.write_text(text)
    run_in(workspace.root, precondition.run)
    index = built(workspace)
    assert list(index.recall) == ["EK-FAC"] and index.recall["EK-FAC"] > 0.99
