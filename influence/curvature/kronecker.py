"""EK-FAC: the Gauss-Newton matrix in Kronecker-factored eigenbases, with the eigenvalues fitted in that basis.

K-FAC differs in its eigenvalues only, and is of the same class. `kronecker_fit` fits both.

Per layer with gradient sum_t g_t a_t^T (George et al. 2018; Grosse et al. 2023):

    A = E[sum_t a_t a_t^T],  S = E[sum_t g_t g_t^T],  A = Q_A . Q_A^T,  S = Q_S . Q_S^T,
    Lambda = E[(Q_S^T (sum_t g_t a_t^T) Q_A)^2],      G v ~ Q_S (Lambda * (Q_S^T V Q_A)) Q_A^T,

the expectation over examples AND over labels drawn from the model: exact up to a set number of labels. Parameters
without a layer rule keep the diagonal of G, in their own coordinates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.layers import PerExampleGradients
from influence.layers.rule import from_matrix, to_matrix
from influence.vectors import Vectors


@dataclass(frozen=True)
class LayerFactors:
    """One layer's eigenbases and eigenvalues.

    Attributes:
        activation_basis: Q_A, [in (+ 1), in (+ 1)], or None for the identity (a layer too wide to decompose).
        gradient_basis: Q_S, [out, out], or None for the identity.
        eigenvalues: Lambda, [out, in (+ 1)].
    """

    activation_basis: Tensor | None
    gradient_basis: Tensor | None
    eigenvalues: Tensor

    def rotate_activations(self, activations: Tensor) -> Tensor:
        """Q_A^T a for vectors a [..., in (+ 1)]."""
        return activations if self.activation_basis is None else activations @ self.activation_basis

    def rotate_gradients(self, gradients: Tensor) -> Tensor:
        """Q_S^T g for vectors g [..., out]."""
        return gradients if self.gradient_basis is None else gradients @ self.gradient_basis

    def rotate_activations_back(self, activations: Tensor) -> Tensor:
        """Q_A a."""
        return activations if self.activation_basis is None else activations @ self.activation_basis.T

    def rotate_gradients_back(self, gradients: Tensor) -> Tensor:
        """Q_S g."""
        return gradients if self.gradient_basis is None else gradients @ self.gradient_basis.T

    def rotate(self, matrices: Tensor) -> Tensor:
        """Q_S^T M Q_A for matrices [..., out, in (+ 1)]."""
        if self.gradient_basis is not None:
            matrices = self.gradient_basis.T @ matrices
        return matrices if self.activation_basis is None else matrices @ self.activation_basis

    def rotate_back(self, matrices: Tensor) -> Tensor:
        """Q_S M Q_A^T."""
        if self.gradient_basis is not None:
            matrices = self.gradient_basis @ matrices
        return matrices if self.activation_basis is None else matrices @ self.activation_basis.T


class EKFAC(LinearOperator):
    """The fitted approximation, in eigen-coordinates layer by layer.

    Args:
        gradients: tells which parameters belong to which layer.
        layers: factors by layer name.
        rest: diagonal of G for the parameters without a rule, {name: [*shape]}.
    """

    def __init__(
        self, gradients: PerExampleGradients, layers: dict[str, LayerFactors], rest: dict[str, Tensor]
    ) -> None:
        self.gradients, self.layers, self.rest = gradients, layers, rest

    def multiply(self, vectors: Vectors) -> Vectors:
        return self.apply(vectors, lambda eigenvalues: eigenvalues)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(G + shift * I)^exponent times each vector.

        Raises:
            ZeroDivisionError: the exponent is negative, the operator singular and not shifted.
        """
        if exponent < 0 and shift <= 0 and self.is_singular():
            raise ZeroDivisionError("EK-FAC has zero eigenvalues: add damping or weight decay to invert it")
        return self.apply(vectors, lambda eigenvalues: (eigenvalues + shift) ** exponent)

    def apply(self, vectors: Vectors, function: Callable[[Tensor], Tensor]) -> Vectors:
        """Rotate into the eigenbasis, multiply by function(eigenvalues), rotate back."""
        answer: Vectors = {name: function(value) * vectors[name] for name, value in self.rest.items()}
        for layer in self.gradients.layers:
            factors = self.layers[layer.name]
            matrix = to_matrix(vectors[layer.weight], vectors[layer.bias] if layer.bias else None)
            matrix = factors.rotate_back(function(factors.eigenvalues) * factors.rotate(matrix))
            weight, bias = from_matrix(matrix, vectors[layer.weight].shape[1:], layer.bias is not None)
            answer[layer.weight] = weight
            if layer.bias is not None and bias is not None:
                answer[layer.bias] = bias
        return {name: answer[name] for name in vectors}

    def mean_eigenvalue(self) -> float:
        """Trace of the approximation over the number of parameters; it equals that of G."""
        values = self._eigenvalues()
        return float(sum(value.double().sum() for value in values)) / sum(value.numel() for value in values)

    def is_singular(self) -> bool:
        """Whether the smallest eigenvalue cannot be told from zero: rounding rarely leaves it at zero exactly."""
        values = self._eigenvalues()
        largest = max(float(value.max()) for value in values)
        return min(float(value.min()) for value in values) <= torch.finfo(values[0].dtype).eps * largest

    def _eigenvalues(self) -> list[Tensor]:
        return [factors.eigenvalues for factors in self.layers.values()] + list(self.rest.values())

    def state(self) -> dict[str, Tensor]:
        """All tensors by name, to be stored."""
        tensors = {f"rest/{name}": value for name, value in self.rest.items()}
        for name, factors in self.layers.items():
            tensors[f"layers/{name}/eigenvalues"] = factors.eigenvalues
            if factors.activation_basis is not None:
                tensors[f"layers/{name}/activation_basis"] = factors.activation_basis
            if factors.gradient_basis is not None:
                tensors[f"layers/{name}/gradient_basis"] = factors.gradient_basis
        return {name: value.contiguous() for name, value in tensors.items()}

    @classmethod
    def from_state(cls, gradients: PerExampleGradients, tensors: dict[str, Tensor]) -> "EKFAC":
        """The inverse of `state`, for the same model.

        Raises:
            KeyError: the tensors are of another model.
        """
        layers = {
            layer.name: LayerFactors(
                tensors.get(f"layers/{layer.name}/activation_basis"),
                tensors.get(f"layers/{layer.name}/gradient_basis"),
                tensors[f"layers/{layer.name}/eigenvalues"],
            )
            for layer in gradients.layers
        }
        return cls(gradients, layers, {name: tensors[f"rest/{name}"] for name in gradients.rest})
