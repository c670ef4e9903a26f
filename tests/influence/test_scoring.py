"""The engine's low-rank and half-precision scores, and what its certificate says of them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from influence import Influence, SoftmaxCrossEntropy

EXAMPLES, QUERIES = 90, 6


def problem() -> tuple[nn.Module, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 24), nn.Tanh(), nn.Linear(24, 3)).double()
    inputs, targets = torch.randn(EXAMPLES, 40).double(), torch.arange(EXAMPLES) % 3
    return model, (inputs, targets), (torch.randn(QUERIES, 40).double(), torch.arange(QUERIES) % 3)


def engine(**options: Any) -> Influence:
    model, train, _ = problem()
    return Influence(model, SoftmaxCrossEntropy(weight_decay=0.01), train, **{"curvature": "ekfac", **options})


def test_the_certificate_holds_the_error_of_low_rank_scores() -> None:
    queries = problem()[2]
    exact, approximate = engine(), engine(low_rank=2)
    truth, found = exact.pairwise(queries), approximate.pairwise(queries)
    assert exact.certificate.low_rank == []
    (error,) = approximate.certificate.low_rank
    assert (error.rank, error.examples) == (2, EXAMPLES)
    # All queries and all examples are fewer than the sample, so what is reported is the whole error.
    relative = ((found - truth).norm(dim=1) / truth.norm(dim=1)).sort().values
    assert torch.allclose(error.relative.sort().values, relative, rtol=1e-8)
    pearson = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(found, truth, strict=True)])
    assert torch.allclose(error.pearson.sort().values, pearson.sort().values, rtol=1e-8)
    assert f"smallest correlation with exact ones over 6 sampled queries is {float(pearson.min()):.4f}" in str(
        approximate.certificate
    )
    top = approximate.top(queries, k=3)
    assert torch.equal(top.helpful()[1], found.sort(dim=1, descending=True).values[:, :3])
    approximate.self_influence()
    assert approximate.certificate.low_rank == []


def test_every_block_of_queries_is_measured() -> None:
    approximate = engine(low_rank=1, memory_limit=200_000)
    approximate.pairwise(problem()[2])
    assert len(approximate.certificate.low_rank) > 1
    assert sum(len(error.pearson) for error in approximate.certificate.low_rank) == QUERIES


@pytest.mark.parametrize("relation", ["theta-relative", "loss-relative", "cosine"])
def test_relations_may_be_of_low_rank(relation: Any) -> None:
    queries = problem()[2]
    truth = engine().pairwise(queries, relation=relation)
    for rank, limit in ((1, 0.2), (6, 0.05)):
        found = engine(low_rank=rank).pairwise(queries, relation=relation)
        assert 0 < float((found - truth).norm() / truth.norm()) < limit


@pytest.mark.parametrize("options", [{}, {"low_rank": 2}, {"curvature": "gauss-newton", "tolerance": 1e-10}])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_scores(dtype: torch.dtype, options: dict[str, Any]) -> None:
    queries = problem()[2]
    full, half = (engine(score_dtype=chosen, damping=0.1, **options).pairwise(queries) for chosen in (None, dtype))
    assert half.dtype == torch.float64
    assert 0 < float((half - full).norm() / full.norm()) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low_rank": 0}, "low_rank must be at least 1, got 0"),
        ({"low_rank": 2, "curvature": "gauss-newton"}, "inverse of ekfac or kfac, not of 'gauss-newton'"),
        ({"score_dtype": torch.int8}, "score_dtype is torch.bfloat16, torch.float16 or None, not torch.int8"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine(**options)
