"""What a stage costs as a polynomial in the number of rows, fitted to the sizes that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """value = sum_k coefficients_k rows^k; `deviation` is the largest relative error over what it was fitted to."""

    coefficients: tuple[float, ...]
    deviation: float

    def at(self, rows: float) -> float:
        return sum(factor * rows**power for power, factor in enumerate(self.coefficients))


def fit(rows: Sequence[int], values: Sequence[float], degree: int) -> Fit | None:
    """The polynomial of least squares of relative errors; None where there are not more sizes than coefficients.

    Args:
        rows: of each run.
        values: what each took, above 0.
        degree: of the polynomial.
    """
    if len(set(rows)) <= degree + 1:
        return None
    sizes, found = np.array(rows, dtype=float), np.array(values, dtype=float)
    unit = sizes.max()  # powers of large numbers would be too far apart
    powers = (sizes[:, None] / unit) ** np.arange(degree + 1)
    scaled = np.linalg.lstsq(powers / found[:, None], np.ones(len(found)), rcond=None)[0]
    deviation = float(np.abs(powers @ scaled / found - 1.0).max())
    return Fit(tuple(float(factor / unit**power) for power, factor in enumerate(scaled)), deviation)
