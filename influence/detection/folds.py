"""Softmax regressions on fixed features, each trained without one fold, all at once.

What they say of the fold they have not seen is out of sample as far as the regression goes. The features themselves may
have been learned with that fold: on a network's features this is cross-validation of its top layer, not of the network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

DIRECTIONS = 256  # principal directions of the features that are kept
ITERATIONS = 100
VALUES = 2**24  # numbers of one intermediate result at once


class Standardiser:
    """Features centred, on their first principal directions, of mean square length 1. Labels play no part.

    Args:
        features: [N, D].
    """

    def __init__(self, features: Tensor) -> None:
        self._centre = features.mean(dim=0)
        centred = (features - self._centre).double()
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(features))
        kept = min(DIRECTIONS, features.shape[1])
        scale = variances[-kept:].clamp(min=0.0).sum().sqrt().clamp(min=1e-12)
        self._map = (directions[:, -kept:] / scale).to(features.dtype)

    def __call__(self, features: Tensor) -> Tensor:
        """[M, D] to [M, kept]."""
        return (features - self._centre) @ self._map


class FoldRegressions:
    """K softmax regressions: mean loss of the examples outside fold k, plus penalty / 2 times the squared weights.

    They are found together by L-BFGS, the K problems being independent parts of one sum.

    Args:
        features: [N, D], see `Standardiser`.
        labels: class indices, [N].
        classes: C.
        fold: of each example, 0 to K - 1, [N].
        penalty: on the weights, not on the biases.
        start: regressions of the same folds to start from, of another penalty; None: zeros.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        classes: int,
        fold: Tensor,
        penalty: float,
        start: "FoldRegressions | None" = None,
    ) -> None:
        self._features, self._fold = _with_one(features), fold
        folds = int(fold.max()) + 1
        seen = (fold[:, None] != torch.arange(folds, device=fold.device)).to(features.dtype)
        share = seen / seen.sum(dim=0).clamp(min=1)  # [N, K]
        width = self._features.shape[1]
        zeros = torch.zeros(width, folds, classes, dtype=features.dtype, device=features.device)
        self._weights: Tensor = (zeros if start is None else start._weights.clone()).requires_grad_(True)
        decay = torch.full((width, 1, 1), penalty, dtype=features.dtype, device=features.device)
        decay[-1] = 0.0
        optimiser = torch.optim.LBFGS(
            [self._weights], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            with torch.no_grad():
                decayed = decay * self._weights
                value, slope = 0.5 * (decayed * self._weights).sum(), decayed
                for rows in self._batches():
                    targets = F.one_hot(labels[rows], classes).to(features.dtype).unsqueeze(1)
                    logs, weight = self._logs(self._features[rows]), share[rows].unsqueeze(2)
                    value = value - (weight * targets * logs).sum()
                    residual = (weight * (logs.exp() - targets)).flatten(1)
                    slope = slope + (self._features[rows].T @ residual).view_as(slope)
                self._weights.grad = slope
            return value

        optimiser.step(objective)
        self._weights.requires_grad_(False)

    def held_out(self) -> Tensor:
        """Log-probabilities of every training example by the regression that has not seen it, [N, C]."""
        parts = []
        for rows in self._batches():
            logs, fold = self._logs(self._features[rows]), self._fold[rows]
            parts.append(logs[torch.arange(len(fold), device=fold.device), fold])
        return torch.cat(parts)

    def of(self, features: Tensor) -> Tensor:
        """Log-probabilities of other examples by all regressions, [K, M, C]."""
        return self._logs(_with_one(features)).transpose(0, 1)

    def _batches(self) -> list[slice]:
        """Rows of training examples whose [B, K, C] numbers fit."""
        size = max(1, VALUES // (self._weights.shape[1] * self._weights.shape[2]))
        return [slice(start, start + size) for start in range(0, len(self._fold), size)]

    def _logs(self, features: Tensor) -> Tensor:
        return (features @ self._weights.flatten(1)).view(len(features), *self._weights.shape[1:]).log_softmax(dim=2)


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], dim=1)
