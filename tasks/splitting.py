"""Which example is in which split, decided by its key: adding or relabelling a row moves almost no other."""

import numpy as np

from tasks.draws import draws
from tasks.errors import UserError
from tasks.workspace import SplitName


def split(keys: list[str], seed: int, validation: float, test: float) -> dict[SplitName, np.ndarray]:
    """Positions of each split's examples, ascending.

    Args:
        keys: what decides, [N]. Examples of one key stay together (a copy in the test split of what was trained on
            would flatter the model), except where a split is full.
        validation: a share of all examples when below 1, else a count.
        test: the same; may be 0.

    Raises:
        UserError: a split that must not be empty would be.
    """
    n_test, n_validation = _count(test, len(keys)), _count(validation, len(keys))
    if n_validation == 0:
        raise UserError(f"`prepare.validation: {validation:g}` of {len(keys):,} examples is none: ask for at least one")
    if n_test + n_validation >= len(keys):
        raise UserError(
            f"no example of {len(keys):,} is left to train on after {n_validation:,} for validation and "
            f"{n_test:,} for test: lower `prepare.validation` or `prepare.test`"
        )
    ranked = np.argsort(draws("split", seed, keys), kind="stable")
    return {
        "train": np.sort(ranked[n_test + n_validation :]),
        "validation": np.sort(ranked[n_test : n_test + n_validation]),
        "test": np.sort(ranked[:n_test]),
    }


def _count(size: float, total: int) -> int:
    return round(size * total) if size < 1 else int(size)
