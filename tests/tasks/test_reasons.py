"""Why, in one line."""

import numpy as np
import torch

from influence.detection import Neighbours
from tasks.evidence import Evidence
from tasks.reasons import reasons
from tasks.signals import Signals

COUNT = 200


def signals(votes: np.ndarray, unseen: np.ndarray | None = None, **columns: np.ndarray) -> Signals:
    count = len(votes)
    quiet = ("loss", "self_influence", "validation_harm", "duplicate_conflict")
    nowhere = Neighbours(torch.zeros(count, 1, dtype=torch.int64), torch.ones(count, 1))
    return Signals(
        {**{name: np.zeros(count) for name in quiet}, **columns},
        votes,
        votes,
        unseen,
        nowhere,
        0.1,
        torch.zeros(count, 1),
        True,
    )


def told(found: Signals, rows: list[int], opponents: float | None = None) -> list[str]:
    evidence = Evidence([[]] * len(rows), [[]] * len(rows), [opponents] * len(rows))
    return reasons(["<b>", "dog's"], found, 10, np.array(rows), np.ones(len(rows), dtype=np.int64), evidence)


def test_loss_and_neighbours_are_always_told_and_self_influence_where_it_is_rare() -> None:
    votes = np.tile([0.2, 0.8], (COUNT, 1))
    votes[2] = [1.0, 0.0]
    found = signals(votes, loss=np.full(COUNT, 2.345), self_influence=np.arange(COUNT, 0.0, -1))
    assert told(found, [0, 2, 9, 10]) == [
        'loses 2.3 nats; 8 of its 10 nearest neighbours bear "dog\'s"; self-influence among the top 1 %',
        "loses 2.3 nats; 10 of its 10 nearest neighbours bear '<b>'; self-influence among the top 2 %",
        'loses 2.3 nats; 8 of its 10 nearest neighbours bear "dog\'s"; self-influence among the top 5 %',
        'loses 2.3 nats; 8 of its 10 nearest neighbours bear "dog\'s"',
    ]


def test_what_else_is_strong_is_told() -> None:
    votes, harm, conflict = np.tile([0.2, 0.8], (COUNT, 1)), np.arange(COUNT) - 150.0, np.zeros(COUNT)
    conflict[199] = 0.5
    own = np.arange(COUNT, 0.0, -1)
    found = signals(
        votes, np.tile([0.07, 0.93], (COUNT, 1)), validation_harm=harm, duplicate_conflict=conflict, self_influence=own
    )
    strong, weak = told(found, [199, 100], opponents=0.8)[0], told(found, [100], opponents=0.4)[0]
    assert strong.split("; ")[2:] == [
        'a top layer that never saw it says "dog\'s", 93 %',
        "a near-duplicate bears another label",
        '8 of its 10 strongest opponents bear "dog\'s"',
        "harms the misread validation examples",
    ]
    assert weak.split("; ")[2:] == ['a top layer that never saw it says "dog\'s", 93 %']


def test_no_more_neighbours_are_named_than_there_are() -> None:
    (line,) = told(signals(np.array([[1 / 3, 2 / 3]] * 4), self_influence=np.arange(4.0, 0.0, -1)), [3])
    assert line == 'loses 0.0 nats; 2 of its 3 nearest neighbours bear "dog\'s"'
