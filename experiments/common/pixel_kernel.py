"""A radial basis function kernel on the pixels of images, and its features.

K_ij = exp(-gamma ||x_i - x_j||^2) = L L^T: a linear model on the rows of the triangular factor L is a kernel machine.
Over training images followed by test images, what L has beyond the columns of the training images is zero in every row
of a training image, so that no model learns anything there: those columns are left out.
"""

import torch
from torch import Tensor

CENTRE = 128
CHUNK = 1024  # pixels; sums of so many products of levels less CENTRE are whole numbers up to 2^24, exact in float32
SCALE = 127.5  # levels from 0 to 255 become values from -1 to 1, as in the released code of Koh & Liang 2017


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """||x - y||^2 of images with pixels from -1 to 1, [N, M] in float64.

    Args:
        left: in levels, uint8 [N, *shape].
        right: in levels, uint8 [M, *shape].
    """
    found = torch.zeros(len(left), len(right), dtype=torch.float64)
    for first, second in zip(left.flatten(1).split(CHUNK, dim=1), right.flatten(1).split(CHUNK, dim=1), strict=True):
        first, second = first.float() - CENTRE, second.float() - CENTRE
        found -= 2 * (first @ second.T)
        found += first.square().sum(dim=1, keepdim=True) + second.square().sum(dim=1).double()
    return found / SCALE**2


def kernel_features(train: Tensor, test: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Features of training images [N, N] and of test images [M, N].

    Args:
        train: squared distances between training images, [N, N].
        test: of test images from training images, [M, N].
        gamma: in units of 1 / distance^2.
    """
    factor = torch.linalg.cholesky((-gamma * train).exp())
    return factor, torch.linalg.solve_triangular(factor, (-gamma * test).exp().T, upper=False).T
