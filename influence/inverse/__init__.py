"""Inverse-Hessian-vector products, each with a certificate."""

from influence.inverse.arnoldi import arnoldi
from influence.inverse.certificate import Certificate, NotPositiveDefiniteError, Solution
from influence.inverse.conjugate_gradient import Preconditioner, conjugate_gradient
from influence.inverse.direct import Direct, direct
from influence.inverse.eigen import eigen, leading_eigenpairs
from influence.inverse.krylov import Extremes, KrylovSpace, RitzPairs, extreme_eigenvalues
from influence.inverse.leverage import Leverage, choose_direct
from influence.inverse.lissa import lissa
from influence.inverse.nystrom import nystrom, nystrom_approximation, nystrom_preconditioner
from influence.inverse.preconditioner import (
    PreconditionerName,
    choose_preconditioner,
    inverse_of,
    make_preconditioner,
)
from influence.inverse.published_lissa import published_lissa

__all__ = [
    "Certificate",
    "Direct",
    "Extremes",
    "KrylovSpace",
    "Leverage",
    "NotPositiveDefiniteError",
    "Preconditioner",
    "PreconditionerName",
    "RitzPairs",
    "Solution",
    "arnoldi",
    "choose_direct",
    "choose_preconditioner",
    "conjugate_gradient",
    "direct",
    "eigen",
    "extreme_eigenvalues",
    "inverse_of",
    "leading_eigenpairs",
    "lissa",
    "make_preconditioner",
    "nystrom",
    "nystrom_approximation",
    "nystrom_preconditioner",
    "published_lissa",
]
