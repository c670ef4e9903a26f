import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import randn
from oracle import relative_error
from torch import Tensor

from influence.layers.groups import merge_groups

sizes = st.integers(1, 4)


def merged_with(activations: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    merged, moved = merge_groups(activations)
    return merged, moved(gradients)


def by_rows(activations: Tensor, gradients: Tensor) -> Tensor:
    """The rows of every group from its own activations, [L, B, out, in]."""
    groups = activations.shape[1]
    grouped = gradients.unflatten(-1, (groups, -1))
    return torch.einsum("lbtgo,bgti->lbgoi", grouped, activations).flatten(2, 3)


@settings(max_examples=60)
@given(groups=sizes, positions=sizes, width=sizes, outputs=sizes, batch=sizes, lead=sizes, repeated=st.booleans())
def test_sums_of_outer_products_and_second_moments_are_kept(
    groups: int, positions: int, width: int, outputs: int, batch: int, lead: int, repeated: bool
) -> None:
    activations = randn(batch, groups, positions, width)
    if repeated:  # patches of a constant image: of rank one
        activations = activations[:, :1, :1].expand_as(activations)
    gradients = randn(lead, batch, positions, groups * outputs, seed=1)
    merged, moved = merged_with(activations, gradients)
    assert groups == 1 or merged.shape[1] == min(groups * positions, width)
    found = torch.einsum("lbto,bti->lboi", moved, merged)
    assert relative_error(found, by_rows(activations, gradients)) <= 1e-12
    second = torch.einsum("bgti,bgtj->bij", activations, activations)
    assert relative_error(merged.transpose(1, 2) @ merged, second) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_merged_to_its_own_precision(dtype: torch.dtype) -> None:
    activations, gradients = randn(3, 2, 5, 4), randn(2, 3, 5, 6)
    merged, moved = merged_with(activations.to(dtype), gradients.to(dtype))
    assert merged.dtype == moved.dtype == dtype
    found = torch.einsum("lbto,bti->lboi", moved.double(), merged.double())
    assert relative_error(found, by_rows(activations, gradients)) <= 4 * torch.finfo(dtype).eps


def test_without_activations_there_is_no_gradient() -> None:
    """An image of zeros, met by a layer without bias."""
    gradients = randn(2, 3, 5, 6)
    merged, moved = merged_with(torch.zeros(3, 2, 5, 4, dtype=torch.float64), gradients)
    assert bool(moved.isfinite().all())
    assert not torch.einsum("lbto,bti->lboi", moved, merged).any() and float(merged.abs().max()) <= 1e-70


def test_second_moments_of_gradients_are_no_larger_than_before() -> None:
    """Nothing is magnified where patches are nearly of rank one, in single precision."""
    patches = randn(3, 1, 1, 4).float() + 1e-5 * randn(3, 2, 9, 4, seed=2).float()
    gradients = randn(2, 3, 9, 6, seed=3).float()
    moved = merged_with(patches, gradients)[1]
    assert float(moved.square().sum()) <= 1.01 * float(gradients.square().sum())
