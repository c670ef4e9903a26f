"""Logistic regression on sparse rows, and what it says against each of its training labels.

Rows of words are a hundredth full, which dense algebra does not see: training on them as sparse rows is a hundred times
cheaper, and so is the leverage x^T H^-1 x, once H is inverted.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression

TOLERANCE = 1e-11  # of the gradient, relative to that at zero; rounding ends it at about 1e-10
STEPS = 10_000


@dataclass(frozen=True)
class Probe:
    """The minimum of mean log(1 + exp(-y f)) + weight_decay / 2 ||theta||^2, f = theta x without bias, y = -1 or +1.

    Attributes:
        inputs: x of the N training examples, [N, P].
        signs: y, [N].
        weights: theta, [P].
        weight_decay: lambda.
    """

    inputs: csr_matrix
    signs: np.ndarray
    weights: np.ndarray
    weight_decay: float

    @classmethod
    def fit(cls, inputs: csr_matrix, labels: np.ndarray, weight_decay: float) -> "Probe":
        """Train on labels 0 and 1, [N]."""
        strength = 1.0 / (weight_decay * len(labels))
        solver = LogisticRegression(
            C=strength, fit_intercept=False, solver="liblinear", tol=TOLERANCE, max_iter=STEPS, random_state=0
        )
        weights = solver.fit(inputs, labels).coef_[0]
        return cls(inputs, 2.0 * labels - 1.0, weights, weight_decay)

    @property
    def margins(self) -> np.ndarray:
        """y f of the training examples, [N]."""
        return self.signs * (self.inputs @ self.weights)

    @property
    def gradient_norm(self) -> float:
        """Length of the objective's gradient, which is 0 at the minimum."""
        slopes = self.signs * _sigmoid(-self.margins)
        return float(np.linalg.norm(self.weight_decay * self.weights - self.inputs.T @ slopes / len(slopes)))

    def accuracy(self, inputs: csr_matrix, labels: np.ndarray) -> float:
        """Share of examples read rightly."""
        return float(np.mean((inputs @ self.weights > 0) == (labels == 1)))

    def leverages(self) -> np.ndarray:
        """x^T H^-1 x / n of the training examples, [N], H being the Hessian of the objective."""
        count = len(self.signs)
        margins = self.margins
        curvature = diags(_sigmoid(margins) * _sigmoid(-margins)) @ self.inputs
        hessian = torch.from_numpy((self.inputs.T @ curvature).toarray()) / count
        hessian.diagonal().add_(self.weight_decay)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian)).numpy()
        found: np.ndarray = np.asarray(self.inputs.multiply(self.inputs @ inverse).sum(axis=1)).ravel()
        return found / count


def loss(margins: np.ndarray) -> np.ndarray:
    """log(1 + exp(-s)) of margins s."""
    return np.logaddexp(0.0, -margins)


def self_influence(margins: np.ndarray, leverages: np.ndarray) -> np.ndarray:
    """Rise of an example's own loss if it were left out, to first order, sigma(-s)^2 x^T H^-1 x / n, [N], in nats.

    As in the released code, the gradient is that of the loss, without the regularisation's share.
    """
    return _sigmoid(-margins) ** 2 * leverages


def leave_one_out_margins(margins: np.ndarray, leverages: np.ndarray) -> np.ndarray:
    """Margins of examples under the model trained without them, by one Newton step, [N].

    With a = x^T H^-1 x / n and the example's curvature d = sigma(s) sigma(-s), the step without its loss is
    s - sigma(-s) a / (1 - d a) (Sherman & Morrison's formula); what is left keeps its weight 1 / n.
    """
    wrong = _sigmoid(-margins)
    return margins - wrong * leverages / (1.0 - wrong * (1.0 - wrong) * leverages)


def cross_validated_margins(
    inputs: csr_matrix, labels: np.ndarray, weight_decay: float, folds: np.ndarray
) -> np.ndarray:
    """Margin of each example under the model trained without its fold, [N].

    Args:
        inputs: [N, P].
        labels: 0 or 1, [N].
        weight_decay: lambda.
        folds: the number of each example's fold, [N].
    """
    found = np.empty(len(labels))
    for fold in np.unique(folds):
        out = folds == fold
        probe = Probe.fit(inputs[~out], labels[~out], weight_decay)
        found[out] = (2.0 * labels[out] - 1.0) * (inputs[out] @ probe.weights)
    return found


def nearest(rows: csr_matrix, count: int) -> np.ndarray:
    """Positions of the rows of largest cosine with each row, itself left out, [N, count]; rows have length 1."""
    similarity = (rows @ rows.T).toarray()
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :count]


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -values))
