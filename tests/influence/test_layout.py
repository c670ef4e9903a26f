"""Rows and named blocks, there and back."""

import torch

from influence.layout import Layout


def test_rows_return_to_their_names_whatever_the_order() -> None:
    vectors = {"weight": torch.randn(4, 2, 3), "scale": torch.randn(4), "bias": torch.randn(4, 2)}
    layout = Layout.of({name: value[0] for name, value in vectors.items()})
    assert layout.size == 9
    flat = layout.flatten(dict(reversed(vectors.items())))
    assert torch.equal(flat[:, :6], vectors["weight"].flatten(1)) and torch.equal(flat[:, 6], vectors["scale"])
    again = layout.unflatten(flat)
    assert list(again) == list(vectors) and all(torch.equal(again[name], vectors[name]) for name in vectors)
