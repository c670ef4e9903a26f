"""Inverse-Hessian-vector products, each with a certificate."""

from influence.inverse.arnoldi import arnoldi
from influence.inverse.certificate import Certificate, NotPositiveDefiniteError, Solution
from influence.inverse.conjugate_gradient import Preconditioner, conjugate_gradient
from influence.inverse.direct import Cholesky, direct
from influence.inverse.eigen import eigen, leading_eigenpairs
from influence.inverse.krylov import Extremes, KrylovSpace, RitzPairs, extreme_eigenvalues
from influence.inverse.lissa import lissa
from influence.inverse.nystrom import nystrom, nystrom_approximation, nystrom_preconditioner

__all__ = [
    "Certificate",
    "Cholesky",
    "Extremes",
    "KrylovSpace",
    "NotPositiveDefiniteError",
    "Preconditioner",
    "RitzPairs",
    "Solution",
    "arnoldi",
    "conjugate_gradient",
    "direct",
    "eigen",
    "extreme_eigenvalues",
    "leading_eigenpairs",
    "lissa",
    "nystrom",
    "nystrom_approximation",
    "nystrom_preconditioner",
]
