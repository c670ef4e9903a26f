"""Without Prefect at hand, shards run all the same."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import bridge

SHARDS = ["0000", "0001", "0002"]


@pytest.mark.parametrize("context", [None, "", "nonsense!", base64.b64encode(b"not a pickle").decode()])
def test_shards_run_in_a_loop_without_a_context(
    context: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(bridge.CONTEXT, raising=False)
    if context is not None:
        monkeypatch.setenv(bridge.CONTEXT, context)
    done: list[str] = []
    bridge.run_shards("score", SHARDS, done.append)
    assert done == SHARDS
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("score: shards do not show in Prefect")


def test_an_error_of_a_shard_is_raised_once_and_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bridge.CONTEXT, raising=False)
    done: list[str] = []

    def compute(shard: str) -> None:
        done.append(shard)
        if shard == "0001":
            raise ValueError("shard is bad")

    with pytest.raises(ValueError, match="shard is bad"):
        bridge.run_shards("score", SHARDS, compute)
    assert done == ["0000", "0001"]


def test_prefect_failing_half_way_costs_no_shard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server goes away after the first shard: each is still computed exactly once."""
    import contextlib

    def task(stage: str):  # type: ignore[no-untyped-def]
        def compute_shards(shards: list[str], compute: bridge.Compute) -> None:
            if shards != ["0000"]:
                raise ConnectionError("the server is gone")
            for shard in shards:
                compute(shard)

        return compute_shards

    monkeypatch.setattr(bridge, "_context", contextlib.nullcontext)
    monkeypatch.setattr(bridge, "_shard_task", task)
    done: list[str] = []
    bridge.run_shards("score", SHARDS, done.append)
    assert done == SHARDS
    assert "the server is gone" in capsys.readouterr().out


def test_without_a_server_stages_know_nothing_of_prefect() -> None:
    assert bridge.context_for_stages() == {}


@given(st.integers(1, 2000))
def test_groups_hold_every_shard_once_in_order_and_are_few(count: int) -> None:
    shards = [f"{number:04}" for number in range(count)]
    groups = bridge._groups(shards)
    assert [shard for group in groups for shard in group] == shards
    assert len(groups) <= bridge.MOST_TASKS
