"""Random numbers that belong to an example, not its place: adding a row leaves those of the others alone."""

import hashlib

import numpy as np


def draws(purpose: str, seed: int, ids: list[str]) -> np.ndarray:
    """One uniform 64-bit number an example, uint64 [N], fixed by the purpose, the seed and its id."""
    key = hashlib.sha256(f"{purpose}\0{seed}".encode())
    digests = []
    for example_id in ids:
        own = key.copy()
        own.update(b"\0" + example_id.encode())
        digests.append(own.digest()[:8])
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)
