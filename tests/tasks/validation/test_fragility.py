"""What becomes of influence on a small network under changes known to hurt it, and what the verdict says then."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from influence.curvature import Regularisation, choose_gauss_newton
from influence.inverse import Direct
from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.retraining import Recipe, Retraining, Run, stacked_outputs
from influence.scores import Pairwise
from tasks.validation.halves import measure
from tasks.validation.verdict import Verdict, judge_halves

EXAMPLES, QUERIES, WIDTH, CLASSES = 80, 20, 6, 3
SUBSETS, SEEDS, DAMPING = 24, 2, 0.01
Examples = tuple[Tensor, Tensor]


def drawn() -> tuple[Examples, Examples]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    labels = torch.randint(CLASSES, (EXAMPLES + QUERIES,), generator=generator)
    inputs = (centres[labels] + torch.randn(len(labels), WIDTH, generator=generator)).double()
    return (inputs[:EXAMPLES], labels[:EXAMPLES]), (inputs[EXAMPLES:], labels[EXAMPLES:])


def with_duplicates(inputs: Tensor, labels: Tensor) -> Examples:
    return torch.cat([inputs, inputs[:20]]), torch.cat([labels, labels[:20]])


def with_an_outlier(inputs: Tensor, labels: Tensor) -> Examples:
    return torch.cat([30 * inputs[:1], inputs[1:]]), labels


def start(seed: int, depth: int) -> nn.Module:
    torch.manual_seed(seed)
    widths = [WIDTH, *[10] * depth]
    hidden = [layer for index in range(depth) for layer in (nn.Linear(widths[index], 10), nn.Tanh())]
    return nn.Sequential(*hidden, nn.Linear(10, CLASSES)).double()


def judged(
    depth: int = 1,
    decay: float = 0.02,
    epochs: int = 40,
    rate: float = 0.1,
    seed: int = 77,
    change: Callable[..., Examples] = lambda inputs, labels: (inputs, labels),
) -> Verdict:
    """Train, score, retrain on halves, and judge. Influence is solved exactly: what is off is not the solver's."""
    train, (inputs, labels) = drawn()
    data, objective = TensorData(*change(*train)), SoftmaxCrossEntropy(decay)
    recipe = Recipe(
        partial(torch.optim.SGD, lr=1.0, momentum=0.9),
        lambda step, steps: rate * 0.5 * (1 + math.cos(math.pi * step / steps)),
        epochs,
        16,
        lambda seed, epoch: 1000 * seed + epoch,
    )
    retraining = Retraining(
        partial(start, depth=depth), objective, recipe, lambda at: (data.inputs[at], data.targets[at])
    )
    rng = np.random.default_rng(0)
    halves = [rng.permutation(len(data))[: len(data) // 2] for _ in range(SUBSETS)]
    runs = [Run(half, number) for number in range(SEEDS) for half in halves]
    losses = [
        objective.loss(outputs, labels)
        for chunk in retraining.chunks(runs)
        for outputs in stacked_outputs(start(0, depth), objective, retraining.train(chunk, epochs), inputs)
    ]
    model = start(0, depth)
    states = retraining.train([Run(np.arange(len(data)), seed)], epochs)
    model.load_state_dict({name: value[0] for name, value in states.items()})
    gradients = PerExampleGradients(Problem(model, objective), inputs[:2])
    curvature = choose_gauss_newton(gradients, data) + Regularisation(gradients.problem)
    right = as_vectors(gradients, gradients.read(inputs, targets=labels))
    left_out = torch.ones(SUBSETS, len(data), dtype=torch.float64)
    for row, half in zip(left_out, halves, strict=True):
        row[torch.from_numpy(half)] = 0.0
    solutions = {
        "influence": Direct(curvature, gradients.problem.parameters, DAMPING)(right),
        "gradient_product": right,
    }
    predicted = {
        name: Pairwise(gradients, vectors, len(data)).batch(data.inputs, data.targets) @ left_out.T
        for name, vectors in solutions.items()
    }
    # The other baseline has no part in this.
    predicted["similarity"] = torch.randn(QUERIES, SUBSETS, generator=torch.Generator().manual_seed(1))
    measured = measure(torch.stack(losses).unflatten(0, (SEEDS, SUBSETS)).transpose(1, 2), predicted)
    return judge_halves({**measured, "subsets": SUBSETS, "seeds": SEEDS, "queries": QUERIES})


@pytest.mark.parametrize(
    "change",
    [{}, {"seed": 78}, {"depth": 4}, {"change": with_duplicates}],
    ids=["as it is", "another seed", "a deeper network", "duplicate rows"],
)
def test_scores_that_hold_are_not_warned_of(change: dict[str, object]) -> None:
    verdict = judged(**change)  # type: ignore[arg-type]
    assert verdict.warnings == [] and "Trust the order" in verdict.text


@pytest.mark.parametrize(
    "change",
    [{"decay": 0.0}, {"epochs": 1, "rate": 0.01}],
    ids=["no weight decay", "training that has hardly begun"],
)
def test_where_curvature_does_not_help_the_verdict_says_so(change: dict[str, object]) -> None:
    """Far from a minimum, or where nothing holds flat directions, the plain product of gradients does as well."""
    verdict = judged(**change)  # type: ignore[arg-type]
    assert any("gradient product" in warning for warning in verdict.warnings)


def test_an_outlier_does_not_fool_the_measurement() -> None:
    """It pulls at every model that sees it; the scores still rank the halves."""
    assert "Trust the order" in judged(change=with_an_outlier).text
