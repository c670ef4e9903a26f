"""Neighbour votes against a loop over the definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from influence.detection import disagreement, nearest_neighbours


def example_set(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return features, torch.randint(classes, (count,), generator=generator)


def votes_by_loop(features: Tensor, labels: Tensor, classes: int, neighbours: int, of: Tensor | None) -> np.ndarray:
    known, chosen = features.numpy(), labels.numpy()
    centre = known.mean(axis=0)
    rows = []
    for position, asked in enumerate(known if of is None else of.numpy()):
        similarity = []
        for other, vector in enumerate(known):
            if of is None and other == position:
                continue
            a, b = asked - centre, vector - centre
            similarity.append((a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), chosen[other]))
        nearest = sorted(similarity, reverse=True)[: min(neighbours, len(known) - 1)]
        rows.append([np.mean([label == index for _, label in nearest]) for index in range(classes)])
    return np.array(rows)


@settings(max_examples=40)
@given(
    count=st.integers(2, 20),
    neighbours=st.integers(1, 25),
    rows=st.integers(1, 25),
    seed=st.integers(0, 999),
    others=st.booleans(),
)
def test_votes_equal_the_loop(count: int, neighbours: int, rows: int, seed: int, others: bool) -> None:
    features, labels = example_set(count, 3, seed)
    of = example_set(7, 3, seed + 1000)[0] if others else None
    found = nearest_neighbours(features, neighbours, of, rows).votes(labels, 3)
    assert np.allclose(found.numpy(), votes_by_loop(features, labels, 3, neighbours, of), atol=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), neighbours=st.integers(1, 6))
def test_the_order_of_the_rows_does_not_matter(seed: int, neighbours: int) -> None:
    features, labels = example_set(15, 3, seed)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(seed))
    straight = nearest_neighbours(features, neighbours)
    shuffled = nearest_neighbours(features[order], neighbours)
    assert torch.allclose(shuffled.votes(labels[order], 3), straight.votes(labels, 3)[order])
    assert torch.allclose(shuffled.distances, straight.distances[order], atol=1e-7)


def test_distances_are_between_centred_directions_the_nearest_first() -> None:
    features, _ = example_set(12, 3, 5)
    found = nearest_neighbours(features, 11)
    directions = torch.nn.functional.normalize(features - features.mean(dim=0), dim=1)
    expected = torch.cdist(directions, directions[None])[0]
    assert torch.allclose(found.distances, expected.gather(1, found.indices), atol=1e-6)
    assert bool((found.distances.diff(dim=1) >= -1e-12).all())


def test_an_example_has_no_vote_on_itself() -> None:
    """Two tight pairs, each of two labels: the one neighbour of an example is its twin, never itself."""
    features = torch.tensor([[1.0, 0.01], [1.0, -0.01], [-1.0, 0.02], [-1.0, -0.02]])
    labels = torch.tensor([0, 1, 0, 1])
    votes = nearest_neighbours(features, 1).votes(labels, 2)
    assert votes.argmax(dim=1).tolist() == [1, 0, 1, 0]
    assert disagreement(votes, labels).tolist() == [1.0] * 4
    assert disagreement(votes, 1 - labels).tolist() == [0.0] * 4


def test_one_example_has_no_neighbour() -> None:
    with pytest.raises(ValueError, match="at least one other"):
        nearest_neighbours(torch.ones(1, 2), 5)
