"""Drawing few of many terms of a sum, the large ones more often, so that the sum is right in expectation."""

import torch
from torch import Tensor


def inclusion_probabilities(sizes: Tensor, expected: int) -> Tensor:
    """Probabilities proportional to size, as far as none exceeds 1, that add up to the number of draws.

    Args:
        sizes: of the terms, [M], none negative.
        expected: draws wanted; where no more terms than that have a size, each of these is certain.

    Returns:
        [M], 0 where the size is 0, or lost in rounding beside the largest.

    Raises:
        ValueError: a size is negative or not finite, or fewer than one draw is wanted.
    """
    if expected < 1:
        raise ValueError(f"at least one term is drawn, got {expected}")
    if not bool((sizes >= 0).all() & sizes.isfinite().all()):
        raise ValueError("sizes to draw by are finite and not negative")
    sizes, certain = sizes.double(), torch.zeros_like(sizes, dtype=torch.bool)
    sizes = torch.where(sizes > torch.finfo(torch.float64).eps * sizes.max(), sizes, 0.0)
    if int((sizes > 0).sum()) <= expected:
        return (sizes > 0).double()
    while True:
        scaled = sizes * ((expected - int(certain.sum())) / sizes[~certain].sum())
        larger = certain | (scaled >= 1.0)
        if torch.equal(larger, certain):
            return torch.where(certain, 1.0, scaled)
        certain = larger


def systematic_sample(probabilities: Tensor, seed: int = 0) -> Tensor:
    """Positions drawn with these probabilities and none twice, ascending; as many as they add up to, within one.

    Systematic sampling in random order (Madow 1949): one random number places a comb of unit spacing along the
    cumulated probabilities, and each tooth takes the term that it falls on.

    Args:
        probabilities: of each of M terms, [M], from 0 to 1.
        seed: of the order and the comb's place.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(probabilities), generator=generator).to(probabilities.device)
    ends = probabilities.double()[order].cumsum(0)
    place = float(torch.rand((), generator=generator, dtype=torch.float64))
    teeth = (ends + place).floor()
    before = torch.cat([teeth.new_zeros(1), teeth[:-1]])
    return order[teeth > before].sort().values
