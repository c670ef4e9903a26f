"""The datamodelling score where the answer is known: noise, a known signal in noise, and a linear model."""

import pytest
import torch
from convex import QUERIES, trained

from influence.fidelity import (
    ceiling,
    ceiling_draws,
    datamodelling_draws,
    datamodelling_score,
    difference,
    estimate,
    resample,
)
from influence.layers import as_vectors
from influence.retraining import retrain_without
from influence.scores import Pairwise
from influence.scores.group import first_order_groups


def noisy(seeds: int, queries: int, subsets: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A mean of unit variance, [Q, M], and it under seeds of independent noise, [S, Q, M]."""
    generator = torch.Generator().manual_seed(3)
    mean = torch.randn(queries, subsets, generator=generator, dtype=torch.float64)
    return mean, mean + noise * torch.randn(seeds, queries, subsets, generator=generator, dtype=torch.float64)


def test_influence_on_a_linear_model_reaches_the_ceiling_and_shuffled_scores_say_nothing() -> None:
    """The truth is retraining to the minimum, without any noise."""
    found, examples = trained("softmax", examples=120), 120
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randperm(examples, generator=generator)[:4] for _ in range(30)]
    minima = retrain_without(found.problem, found.data, sets, found.solve)
    actual = torch.stack(
        [
            found.problem.loss(
                {name: value[index] for name, value in minima.parameters.items()},
                found.queries.inputs,
                found.queries.targets,
            )
            for index in range(len(sets))
        ],
        dim=1,
    )
    queries = as_vectors(found.gradients, found.gradients.read(found.queries.inputs, targets=found.queries.targets))
    pairwise = Pairwise(found.gradients, found.solve(queries), examples)
    predicted = first_order_groups(pairwise, found.data, sets)
    assert actual.shape == predicted.shape == (QUERIES, 30)
    draws = resample(30, QUERIES)
    own = datamodelling_score(predicted, actual), datamodelling_draws(predicted, actual, draws)
    assert own[0] > 0.95
    shuffled = predicted[:, torch.randperm(30, generator=generator)]
    other = datamodelling_score(shuffled, actual), datamodelling_draws(shuffled, actual, draws)
    interval = estimate(*other)
    assert interval.low < 0 < interval.high
    gap = difference(own, other)
    assert gap.low > 0.3 and gap.low < gap.value < gap.high


def test_the_ceiling_is_what_the_true_mean_scores() -> None:
    mean, actual = noisy(seeds=4, queries=40, subsets=200, noise=1.5)
    best = datamodelling_score(mean, actual.mean(dim=0))
    assert ceiling(actual) == pytest.approx(best, abs=0.03)
    drawn = ceiling_draws(actual, resample(200, 40, draws=200))
    interval = estimate(ceiling(actual), drawn)
    assert interval.low < best < interval.high
    assert interval.margin < 0.1


def test_the_ceiling_of_exact_truth_is_one_and_of_noise_near_zero() -> None:
    mean, _ = noisy(1, 5, 30, 0.0)
    assert ceiling(mean.expand(3, -1, -1)) == pytest.approx(1.0)
    _, noise = noisy(2, 60, 100, 1e6)
    assert ceiling(noise) < 0.2


def test_one_seed_has_no_ceiling() -> None:
    with pytest.raises(ValueError, match="two seeds or more"):
        ceiling(torch.zeros(1, 2, 3))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """A known correlation, estimated anew from 200 samples of 30 subsets and 20 queries."""
    generator = torch.Generator().manual_seed(5)
    draws, inside = resample(30, 20, draws=300), 0
    true = 6 / torch.pi * torch.asin(torch.tensor(0.5) / 2)  # Spearman's of a normal pair of correlation .5
    for _ in range(200):
        left, right = torch.randn(2, 20, 30, generator=generator, dtype=torch.float64)
        right = 0.5 * left + 0.75**0.5 * right
        interval = estimate(datamodelling_score(left, right), datamodelling_draws(left, right, draws))
        inside += interval.low <= float(true) <= interval.high
    assert inside >= 170


def test_the_same_seed_draws_the_same_samples() -> None:
    first, again, other = resample(6, 4, 10), resample(6, 4, 10), resample(6, 4, 10, seed=1)
    assert torch.equal(first.subsets, again.subsets) and not torch.equal(first.subsets, other.subsets)
    assert (first.subsets.sum(dim=1) == 6).all() and (first.queries.sum(dim=1) == 4).all()
