import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, random
from torch import nn

from experiments.common.probe import (
    Probe,
    cross_validated_margins,
    leave_one_out_margins,
    loss,
    nearest,
    self_influence,
)
from influence import BinaryCrossEntropy, Influence
from influence.problem import TensorData
from influence.retraining import minimise

N, P, DECAY = 60, 9, 1e-2


@pytest.fixture(scope="module")
def rows() -> csr_matrix:
    return csr_matrix(random(N, P, density=0.4, random_state=0))


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, N)


def test_the_minimum_is_that_of_the_dense_solver(rows: csr_matrix, labels: np.ndarray) -> None:
    probe = Probe.fit(rows, labels, DECAY)
    model = nn.Linear(P, 1, bias=False, dtype=torch.float64)
    data = TensorData(torch.from_numpy(rows.toarray()), torch.from_numpy(labels))
    expected = minimise(model, BinaryCrossEntropy(DECAY), data).parameters["weight"][0].numpy()
    np.testing.assert_allclose(probe.weights, expected, rtol=1e-6, atol=1e-8)
    assert probe.gradient_norm < 1e-8
    right = np.mean(((rows @ expected) > 0) == (labels == 1))
    assert probe.accuracy(rows, labels) == right
    assert Probe(rows, probe.signs, np.zeros(P), DECAY).gradient_norm > 0.01


def test_self_influence_is_the_engines_without_the_regularisations_share(rows: csr_matrix, labels: np.ndarray) -> None:
    probe = Probe.fit(rows, labels, DECAY)
    model = nn.Linear(P, 1, bias=False, dtype=torch.float64)
    model.weight.data = torch.from_numpy(probe.weights)[None]
    inputs, targets = torch.from_numpy(rows.toarray()), torch.from_numpy(labels)
    engine = Influence(model, BinaryCrossEntropy(DECAY), (inputs, targets), solver="direct")
    margins = torch.from_numpy(probe.margins)
    slopes = -torch.from_numpy(probe.signs)[:, None] * torch.sigmoid(-margins)[:, None] * inputs
    curvature = (inputs.T * (margins.sigmoid() * (-margins).sigmoid())) @ inputs / N + DECAY * torch.eye(P)
    pull = (slopes @ torch.linalg.solve(curvature, DECAY * model.weight[0])).detach() / N
    found = self_influence(probe.margins, probe.leverages())
    np.testing.assert_allclose(found + pull.numpy(), engine.self_influence().numpy(), rtol=1e-8)


def test_one_newton_step_comes_near_to_leaving_out(rows: csr_matrix, labels: np.ndarray) -> None:
    probe = Probe.fit(rows, labels, DECAY)
    predicted = leave_one_out_margins(probe.margins, probe.leverages())
    exact = np.empty(N)
    for out in range(N):
        kept = np.arange(N) != out
        # What is left keeps its weight 1 / N: the regularisation weighs N / (N - 1) as much beside its mean.
        without = Probe.fit(rows[kept], labels[kept], DECAY * N / (N - 1))
        exact[out] = probe.signs[out] * (rows[out] @ without.weights)[0]
    moved = np.abs(exact - probe.margins)
    assert np.abs(predicted - exact).max() < 0.1 * moved.max()
    assert np.all(loss(predicted) >= loss(probe.margins))


def test_a_held_out_margin_does_not_see_its_own_label(rows: csr_matrix, labels: np.ndarray) -> None:
    folds = np.arange(N) % 3
    before = cross_validated_margins(rows, labels, DECAY, folds)
    other = labels.copy()
    other[4] = 1 - other[4]
    after = cross_validated_margins(rows, other, DECAY, folds)
    assert after[4] == pytest.approx(-before[4])
    assert np.array_equal(after[folds == 1] == before[folds == 1], np.arange(N)[folds == 1] != 4)


def test_the_nearest_are_those_of_largest_cosine() -> None:
    rows = csr_matrix(np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]]))
    assert nearest(rows, 2).tolist() == [[2, 1], [2, 3], [1, 0], [1, 2]]
