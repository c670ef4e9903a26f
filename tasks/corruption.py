"""Planted label errors: labels changed on purpose, to measure how many of them are found again.

Three kinds. `uniform`: any example, to any other class (the easiest to find). `pair`: any example, to the class after
its own (Han et al. 2018), so that the errors of a class agree with each other. `feature`: examples that look like
another class, to that class, as a person would err; but even there at most every second one (bounded noise that
depends on the features, as in Zhang et al. 2021), or the errors would be the rule and could not be told from it.
"""

from typing import Literal

import numpy as np
import scipy.sparse

from tasks.draws import draws

Inputs = np.ndarray | scipy.sparse.csr_matrix
Kind = Literal["uniform", "pair", "feature"]


def corrupt(
    ids: list[str],
    labels: list[str],
    classes: list[str],
    share: float,
    seed: int,
    kind: Kind = "uniform",
    inputs: Inputs | None = None,
) -> tuple[list[str], np.ndarray]:
    """Give a share of the examples another label.

    Args:
        ids: of the examples, [N]; with the seed they decide which are changed, so that the order of rows does not.
        labels: [N].
        classes: at least two.
        share: of the examples to change.
        seed: of the draws.
        kind: see above.
        inputs: encoded, [N, ...]; needed for `feature`.

    Returns:
        the labels, and which of them were changed, bool [N].

    Raises:
        ValueError: the kind is `feature` and there are no inputs.
    """
    index = {name: position for position, name in enumerate(classes)}
    own = np.array([index[label] for label in labels], dtype=np.int64)
    count = round(share * len(ids))
    if kind == "feature":
        if inputs is None:
            raise ValueError("errors that depend on the features need the inputs")
        nearness, other = nearest_other_class(inputs, own, len(classes))
        chosen = _first(_uniform(draws("corruption", seed, ids)) / _probabilities(nearness, share), count)
        target = other[chosen]
    else:
        chosen = _first(draws("corruption", seed, ids), count)
        if kind == "pair":
            target = (own[chosen] + 1) % len(classes)
        else:
            numbers = draws("corrupted label", seed, [ids[row] for row in chosen])
            among_others = (numbers % np.uint64(len(classes) - 1)).astype(np.int64)
            target = among_others + (among_others >= own[chosen])
    changed = np.zeros(len(ids), dtype=bool)
    changed[chosen] = True
    given = list(labels)
    for row, position in zip(chosen, target, strict=True):
        given[row] = classes[position]
    return given, changed


def nearest_other_class(inputs: Inputs, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """How near each example lies to the nearest other class, [N], and which class that is, [N].

    Nearness is the example's place on the straight line from the mean of its own class (0) to that of the other (1).

    Args:
        inputs: [N, ...].
        labels: class indices, [N].
        classes: number of classes; those without an example are near to nobody.
    """
    flat = inputs if isinstance(inputs, scipy.sparse.csr_matrix) else inputs.reshape(len(inputs), -1).astype(np.float32)
    places = (labels, np.arange(len(labels)))
    members = scipy.sparse.csr_matrix((np.ones(len(labels), np.float32), places), shape=(classes, len(labels)))
    sizes = np.bincount(labels, minlength=classes)
    sums = members @ flat
    means = (sums.toarray() if isinstance(sums, scipy.sparse.spmatrix) else sums) / np.maximum(sizes, 1)[:, None]
    products = np.asarray(flat @ means.T, dtype=np.float64)  # x . mean_k, [N, classes]
    inner = (means @ means.T).astype(np.float64)
    rows = np.arange(len(labels))
    along = products - products[rows, labels][:, None] - inner[labels] + inner[labels, labels][:, None]
    length = inner.diagonal()[None, :] - 2 * inner[labels] + inner[labels, labels][:, None]
    place = np.where((length > 1e-12) & (sizes > 0), along / np.maximum(length, 1e-12), -np.inf)
    place[rows, labels] = -np.inf
    other = place.argmax(axis=1)
    found = place[rows, other]
    finite = np.isfinite(found)
    return np.where(finite, found, found[finite].min() if finite.any() else 0.0), other


def _probabilities(nearness: np.ndarray, share: float) -> np.ndarray:
    """Of being changed, [N], with mean `share`: e times as large one deviation nearer, at most 1/2 or `share`."""
    odds = np.exp((nearness - nearness.mean()) / max(float(nearness.std()), 1e-12))
    most, low, high = max(0.5, share), 0.0, 1.0 / float(odds.min())
    for _ in range(100):  # bisection of the factor
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * odds, most).mean() < share else (low, middle)
    return np.maximum(np.minimum(high * odds, most), 1e-300)


def _uniform(numbers: np.ndarray) -> np.ndarray:
    """64-bit draws as uniform numbers. The smallest quotients by probabilities are a sample with these probabilities of
    inclusion (sequential Poisson sampling, Ohlsson 1998)."""
    found: np.ndarray = ((numbers >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52  # never 0, never 1
    return found


def _first(keys: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(keys, kind="stable")[:count]
