"""A matrix known on a few directions only: Q diag(values) Q^T with orthonormal columns in Q."""

from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.layout import Layout
from influence.vectors import Vectors


class LowRank(LinearOperator):
    """Q diag(values) Q^T.

    Args:
        basis: Q^T, [R, P], orthonormal rows.
        values: [R].
        layout: which entries of a row belong to which parameter.
    """

    def __init__(self, basis: Tensor, values: Tensor, layout: Layout) -> None:
        self.basis, self.values, self.layout = basis, values, layout

    def multiply(self, vectors: Vectors) -> Vectors:
        return self.apply(vectors, self.values)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(A + shift * I)^exponent times each vector, the directions outside the span having eigenvalue `shift`.

        For the exponent -1 this is Woodbury's formula.

        Raises:
            ZeroDivisionError: the exponent is negative and there is no positive shift.
            ValueError: the exponent is not whole and an eigenvalue plus the shift is negative.
        """
        smallest = min(shift, float(self.values.min()) + shift)
        if exponent != int(exponent) and smallest < 0:
            raise ValueError(f"no power {exponent:g}: the smallest eigenvalue is {smallest:.3g}")
        if exponent < 0 and shift <= 0:
            raise ZeroDivisionError("a matrix of low rank is singular: add damping to invert it")
        return self.apply(vectors, (self.values + shift) ** exponent, shift**exponent)

    def apply(self, vectors: Vectors, values: Tensor, rest: float = 0.0) -> Vectors:
        """Multiply by these values [R] on the basis, and by `rest` what lies outside its span."""
        flat = self.layout.flatten(vectors)
        coefficients = flat @ self.basis.T
        answer = (coefficients * values) @ self.basis
        if rest != 0.0:
            outside = flat - coefficients @ self.basis
            # Once more: `rest` may be so much larger than the values that rounding left inside the span would show.
            outside = outside - (outside @ self.basis.T) @ self.basis
            answer = answer + rest * outside
        return self.layout.unflatten(answer)
