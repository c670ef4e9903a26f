"""Curvature as linear operators, one a file."""

from influence.curvature.choice import choose_gauss_newton
from influence.curvature.dense import Dense
from influence.curvature.diagonal import Diagonal
from influence.curvature.factored import FactoredGaussNewton
from influence.curvature.gauss_newton import GaussNewton
from influence.curvature.hessian import Hessian
from influence.curvature.identity import Identity
from influence.curvature.kronecker import EKFAC
from influence.curvature.kronecker_fit import fit_diagonal, fit_ekfac, fit_kfac
from influence.curvature.low_rank import LowRank
from influence.curvature.operator import LinearOperator
from influence.curvature.regularisation import Regularisation
from influence.curvature.sampled import SampledGaussNewton, sample_gauss_newton

__all__ = [
    "EKFAC",
    "Dense",
    "Diagonal",
    "FactoredGaussNewton",
    "GaussNewton",
    "Hessian",
    "Identity",
    "LinearOperator",
    "LowRank",
    "Regularisation",
    "SampledGaussNewton",
    "choose_gauss_newton",
    "fit_diagonal",
    "fit_ekfac",
    "fit_kfac",
    "sample_gauss_newton",
]
