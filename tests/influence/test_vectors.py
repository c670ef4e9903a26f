"""Algebra of named blocks against the same algebra on flat vectors."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import flatten, unflatten

from influence.vectors import (
    Vectors,
    add_scaled,
    all_finite,
    block,
    concatenate,
    count,
    cross_dot,
    dot,
    norm,
    scaled,
    select,
    zeros_like,
)


def draw(columns: int, seed: int) -> Vectors:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"weight": (2, 3, 4), "bias": (2,), "scale": ()}
    return {
        name: torch.randn(columns, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def reordered(vectors: Vectors) -> Vectors:
    """The same block, its names in another order: names, not positions, pair the tensors."""
    return dict(reversed(vectors.items()))


@settings(max_examples=30)
@given(columns=st.integers(1, 5), others=st.integers(1, 5), seed=st.integers(0, 999))
def test_the_algebra_equals_that_of_flat_vectors(columns: int, others: int, seed: int) -> None:
    left, right, third = draw(columns, seed), draw(columns, seed + 1), draw(others, seed + 2)
    a, b, c = flatten(left), flatten(right), flatten(third)
    scale = torch.randn(columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert count(left) == columns
    assert torch.allclose(dot(left, reordered(right)), (a * b).sum(dim=1))
    assert torch.allclose(cross_dot(left, reordered(third)), a @ c.T)
    assert torch.allclose(norm(left), a.norm(dim=1))
    assert torch.allclose(flatten(add_scaled(left, scale, reordered(right))), a + scale[:, None] * b)
    assert torch.allclose(flatten(add_scaled(left, 2.5, right)), a + 2.5 * b)
    assert torch.allclose(flatten(scaled(scale, left)), scale[:, None] * a)
    assert torch.equal(flatten(concatenate([left, reordered(third)])), torch.cat([a, c]))
    assert torch.equal(flatten(select(left, [columns - 1, 0])), a[[columns - 1, 0]])
    assert torch.equal(flatten(zeros_like(left)), torch.zeros_like(a))


def test_one_vector_as_a_block_and_the_oracle_back() -> None:
    vectors = draw(3, 0)
    single = {name: value[1] for name, value in vectors.items()}
    assert torch.equal(flatten(block(single)), flatten(vectors)[1:2])
    again = unflatten(flatten(vectors), single)
    assert all(torch.equal(again[name], vectors[name]) for name in vectors)


def test_one_number_that_is_not_finite_is_seen() -> None:
    vectors = draw(3, 0)
    assert all_finite(vectors)
    vectors["weight"][2, 1, 0, 3] = torch.inf
    assert not all_finite(vectors)
