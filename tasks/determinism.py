"""The same work gives the same bits."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

# The module has its flag as a property, which type checkers do not see.
SETTINGS: Any = torch.utils.deterministic


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Within it torch uses only algorithms that give the same bits every time, and refuses the others."""
    before = torch.are_deterministic_algorithms_enabled()
    fill = SETTINGS.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is refused
    torch.use_deterministic_algorithms(True)
    SETTINGS.fill_uninitialized_memory = False  # a debugging aid that costs time
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        SETTINGS.fill_uninitialized_memory = fill


def derived_seed(*parts: int) -> int:
    """One seed from several numbers, such that (0, 1), (1, 0) and (1,) give unrelated streams."""
    words = np.random.SeedSequence([len(parts), *(part % 2**64 for part in parts)]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))  # within what torch and numpy both take
