"""No curvature at all: influence becomes the inner product of gradients."""

from influence.curvature.operator import LinearOperator
from influence.vectors import Vectors, scaled


class Identity(LinearOperator):
    """I."""

    def multiply(self, vectors: Vectors) -> Vectors:
        return dict(vectors)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(1 + shift)^exponent times each vector.

        Raises:
            ZeroDivisionError: 1 + shift is not positive and the exponent asks for a root or an inverse.
        """
        if 1.0 + shift <= 0 and (exponent < 0 or exponent != int(exponent)):
            raise ZeroDivisionError(f"(1 + {shift:g})^{exponent:g} does not exist: use a shift above -1")
        return scaled((1.0 + shift) ** exponent, vectors)

    def mean_eigenvalue(self) -> float:
        """1."""
        return 1.0
