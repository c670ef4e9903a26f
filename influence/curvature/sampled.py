"""The Gauss-Newton matrix of few columns drawn from all examples, with a closed-form inverse.

G = 1/n sum_il c_il c_il^T, where c_il is the gradient of example i's outputs along the l-th eigenvector of its output
Hessian H_i, times the root of its eigenvalue. Most examples of a trained model are predicted with confidence and their
eigenvalues are next to nothing; those that matter have one or two. So R columns are drawn with probability proportional
to the eigenvalue, and weighted by its inverse: the mean over draws is G. With C [R, P] their matrix,

    (C^T C + shift I)^-1 = (I - C^T (C C^T + shift I)^-1 C) / shift     (Woodbury)

takes a decomposition of [R, R], whatever the number of parameters. On its own this is a rough inverse; it is meant to
precondition conjugate gradients.
"""

from functools import cached_property
from math import prod

import torch
from torch import Tensor

from influence.curvature.operator import LinearOperator
from influence.curvature.sampling import inclusion_probabilities, systematic_sample
from influence.layers import GradientBlock, PerExampleGradients
from influence.memory import activations_per_example
from influence.problem import Data, Problem
from influence.subset import take
from influence.vectors import Vectors, add_scaled, count, scaled, zeros_like

EXACT_OUTPUTS = 32  # outputs up to which their Hessian is decomposed; beyond, so many random columns stand for it
EXAMPLES = 256  # read at once, where memory allows
ILL_CONDITIONED = 1e4  # largest eigenvalue over shift from which the inverse is refined


class SampledGaussNewton(LinearOperator):
    """C^T C, multiplied and inverted through the columns' factored gradients.

    Args:
        gradients: tells names and shapes.
        blocks: the columns, weighted, in one or more blocks.

    Attributes:
        columns: R, how many there are.
    """

    def __init__(self, gradients: PerExampleGradients, blocks: list[GradientBlock]) -> None:
        self.blocks, self.columns = blocks, sum(prod(block.shape) for block in blocks)
        self._shapes = {name: value.shape for name, value in gradients.problem.parameters.items()}
        self._factor: tuple[float, Tensor] | None = None

    def multiply(self, vectors: Vectors) -> Vectors:
        return self._combine(self._along(vectors), vectors)

    def power(self, vectors: Vectors, exponent: float, shift: float = 0.0) -> Vectors:
        """(C^T C + shift * I)^exponent times each vector, for the exponent -1 and whole numbers from 0 on.

        Raises:
            TypeError: there is no such power.
            ZeroDivisionError: the exponent is -1, and the shift not positive or lost in rounding.
        """
        if exponent != -1:
            return super().power(vectors, exponent, shift)
        factor = self._cholesky(shift)
        answer = self._woodbury(vectors, factor, shift)
        if self._largest > ILL_CONDITIONED * shift:
            # Rounding is magnified by the root of the condition number; one step of refinement takes that off again.
            left = add_scaled(add_scaled(vectors, -shift, answer), -1.0, self @ answer)
            answer = add_scaled(answer, 1.0, self._woodbury(left, factor, shift))
        return answer

    @cached_property
    def gram(self) -> Tensor:
        """C C^T, [R, R], in float64."""
        rows = [torch.cat([left.cross(right) for right in self.blocks], dim=1) for left in self.blocks]
        return torch.cat(rows)

    @cached_property
    def _largest(self) -> float:
        """A bound of the largest eigenvalue."""
        return float(self.gram.norm())

    def _cholesky(self, shift: float) -> Tensor:
        if shift <= 0:
            raise ZeroDivisionError("few columns are a singular matrix: add damping or weight decay to invert it")
        if self._factor is None or self._factor[0] != shift:
            moved = self.gram.clone()
            moved.diagonal().add_(shift)
            factor, failure = torch.linalg.cholesky_ex(moved)
            if int(failure):
                raise ZeroDivisionError(
                    f"damping of {shift:.3g} is lost in rounding beside curvature of {self._largest:.3g}: use more"
                )
            self._factor = (shift, factor)
        return self._factor[1]

    def _woodbury(self, vectors: Vectors, factor: Tensor, shift: float) -> Vectors:
        along = self._along(vectors)
        inner = torch.cholesky_solve(along.double(), factor).to(along.dtype)
        return scaled(1.0 / shift, add_scaled(vectors, -1.0, self._combine(inner, vectors)))

    def _along(self, vectors: Vectors) -> Tensor:
        """C v of K vectors, [R, K]."""
        return torch.cat([block.along(vectors).flatten(0, 1) for block in self.blocks])

    def _combine(self, weights: Tensor, like: Vectors) -> Vectors:
        """C^T w of weights [R, K]."""
        total, start = zeros_like(like), 0
        for block in self.blocks:
            end = start + prod(block.shape)
            part = weights[start:end].view(*block.shape, count(like))
            total = add_scaled(total, 1.0, block.combine(part, self._shapes))
            start = end
        return total


def sample_gauss_newton(
    gradients: PerExampleGradients, data: Data, columns: int, memory_limit: int = 2**30, seed: int = 0
) -> SampledGaussNewton:
    """Draw about `columns` columns in one pass through the model without derivatives, and read their gradients.

    Where the loss is not convex in the outputs, the positive part of its Hessian counts.

    Args:
        gradients: reads the per-example gradients of the problem.
        data: the n examples of the mean.
        columns: R; the matrix is exact where this is all there are.
        memory_limit: bytes for the intermediate results of a batch.
        seed: of the draw.

    Returns:
        The operator, without regularisation and damping.

    Raises:
        ValueError: there are no examples, or no columns are wanted.
        FloatingPointError: the Hessian of an example's loss is not finite.
    """
    if not len(data):
        raise ValueError("the Gauss-Newton matrix needs at least one example")
    problem = gradients.problem
    probe = next(iter(data.batches(1, problem.device)))[0]
    width = 4 * activations_per_example(problem, probe) * torch.finfo(problem.dtype).bits // 8
    batch = max(1, min(EXAMPLES, memory_limit // width))
    found = [_columns(problem, inputs, targets) for inputs, targets in data.batches(batch, problem.device)]
    sizes = torch.cat([part.square().sum(dim=-1).T for part in found])  # [n, L]
    probabilities = inclusion_probabilities(sizes.flatten(), columns)
    drawn = systematic_sample(probabilities, seed)
    if not len(drawn):
        drawn = drawn.new_zeros(1)  # no curvature at all: a column of zeros says so
    examples, which = drawn // sizes.shape[1], drawn % sizes.shape[1]
    weights = torch.where(probabilities[drawn] > 0, (len(data) * probabilities[drawn]).rsqrt(), 0.0)
    blocks, start = [], 0
    for inputs, targets in take(data, examples).batches(batch, problem.device):
        part = slice(start, start + len(inputs))
        own = _columns(problem, inputs, targets)[which[part], torch.arange(len(inputs), device=which.device)]
        own = own * weights[part].to(own).unsqueeze(1)
        blocks.append(GradientBlock(gradients, gradients.read(inputs, own.unsqueeze(0))))
        start += len(inputs)
    return SampledGaussNewton(gradients, blocks)


def _columns(problem: Problem, inputs: Tensor, targets: Tensor) -> Tensor:
    """Eigenvectors of each example's output Hessian times the roots of their eigenvalues, [L, B, C]."""
    with torch.no_grad():
        outputs = problem.outputs(problem.parameters, inputs)
    classes = outputs.shape[-1]
    if classes > EXACT_OUTPUTS:
        generator = torch.Generator(device=outputs.device).manual_seed(0)
        return problem.objective.sampled_columns(outputs, targets, EXACT_OUTPUTS, generator)
    unit = torch.eye(classes, dtype=outputs.dtype, device=outputs.device).unsqueeze(1).expand(-1, len(outputs), -1)
    hessians = problem.objective.output_hessian_product(outputs, targets, unit).transpose(0, 1)
    if not bool(hessians.isfinite().all()):
        raise FloatingPointError("the Hessian of the loss in the outputs is not finite: the outputs overflow")
    # There is no decomposition in half precision.
    values, basis = torch.linalg.eigh(hessians.to(torch.promote_types(outputs.dtype, torch.float32)))
    return (basis * values.clamp_min(0).sqrt().unsqueeze(1)).permute(2, 0, 1).to(outputs.dtype)
