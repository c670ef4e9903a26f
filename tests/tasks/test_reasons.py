"""Why, in one line."""

import numpy as np

from tasks.reasons import reasons


def test_loss_neighbours_and_rare_self_influence_are_told() -> None:
    own = np.arange(200.0)[::-1].copy()  # the first is the largest of all
    loss = np.full(200, 2.345)
    votes = np.tile([0.2, 0.8], (200, 1))
    votes[2] = [1.0, 0.0]
    lines = reasons(["<b>", "dog's"], {"loss": loss, "self_influence": own}, votes, 10, np.array([0, 2, 9, 10]))
    assert lines == [
        'loses 2.3 nats; 8 of its 10 nearest neighbours bear "dog\'s"; self-influence among the top 1 %',
        "loses 2.3 nats; 10 of its 10 nearest neighbours bear '<b>'; self-influence among the top 2 %",
        'loses 2.3 nats; 8 of its 10 nearest neighbours bear "dog\'s"; self-influence among the top 5 %',
        'loses 2.3 nats; 8 of its 10 nearest neighbours bear "dog\'s"',
    ]


def test_no_more_neighbours_are_named_than_there_are() -> None:
    signals = {"loss": np.zeros(4), "self_influence": np.zeros(4)}
    votes = np.array([[1 / 3, 2 / 3]] * 4)
    (line,) = reasons(["a", "b"], signals, votes, 20, np.array([0]))
    assert line.startswith("loses 0.0 nats; 2 of its 3 nearest neighbours bear 'b'")
