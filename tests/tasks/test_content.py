"""Shards named by what their rows hold: what a changed, a new and a missing row cost."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.content import content_key, content_shards
from tasks.dataset import Split, load_split
from tasks.workspace import Workspace

COUNT = 32


@pytest.fixture(scope="module")
def train(make_prepared: Callable[..., Workspace], tmp_path_factory: pytest.TempPathFactory) -> Split:
    return load_split(make_prepared(tmp_path_factory.mktemp("content"), kind="table", count=600), "train")


def redone(before: Split, after: Split) -> set[str]:
    return set(content_shards(after, COUNT)) - set(content_shards(before, COUNT))


def relabelled(split: Split, rows: list[int]) -> Split:
    labels = split.labels.clone()
    labels[rows] = (labels[rows] + 1) % 3
    return dataclasses.replace(split, labels=labels)


def test_every_row_is_in_one_shard(train: Split) -> None:
    shards = content_shards(train, COUNT)
    assert len(shards) == COUNT
    assert sorted(np.concatenate(list(shards.values())).tolist()) == list(range(len(train)))
    assert all((np.diff(rows) > 0).all() for rows in shards.values())


def test_only_the_shards_of_changed_rows_are_redone(train: Split) -> None:
    assert redone(train, train) == set()
    for rows in ([7], [7, 8, 9, 10]):
        own = {name[:4] for name, members in content_shards(train, COUNT).items() if np.isin(rows, members).any()}
        assert {name[:4] for name in redone(train, relabelled(train, rows))} == own
    less = train.subset(np.delete(np.arange(len(train)), [0, 300]))
    assert 1 <= len(redone(train, less)) <= 2, "rows after the missing ones have moved, and cost nothing"
    assert 1 <= len(redone(less, train)) <= 2


@pytest.mark.parametrize("kind", ["image", "table", "text"])
def test_the_key_tells_inputs_and_labels(make_prepared: Callable[..., Workspace], tmp_path: Path, kind: str) -> None:
    split = load_split(make_prepared(tmp_path, kind=kind, count=20), "train")
    changed = relabelled(split, [3])
    assert content_key(split) != content_key(changed)
    assert content_key(split, labelled=False) == content_key(changed, labelled=False)
    moved = split.subset(np.roll(np.arange(20), 1))
    assert content_key(split, labelled=False) != content_key(moved, labelled=False)
    assert content_key(split) == content_key(moved, np.roll(np.arange(20), -1))
    assert torch.equal(split.labels, moved.labels.roll(-1))
