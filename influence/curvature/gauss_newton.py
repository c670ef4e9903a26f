"""The generalised Gauss-Newton matrix, G = 1/n sum_i J_i^T H_i J_i, as an operator.

J_i is the Jacobian of example i's outputs in the parameters and H_i the Hessian of its loss in the outputs. It
equals the Fisher for cross-entropy and squared error, and the Hessian of the mean loss for linear models; it is
positive semi-definite where the loss is convex in the outputs.
"""

from torch import Tensor
from torch.func import jvp, vjp, vmap

from influence.curvature.batched import BatchedOperator
from influence.vectors import Vectors


class GaussNewton(BatchedOperator):
    """Products with G over all examples of `data`, without the regularisation. Arguments: see `BatchedOperator`."""

    def batch_product(self, inputs: Tensor, targets: Tensor, vectors: Vectors) -> Vectors:
        problem = self.problem

        def outputs(parameters: Vectors) -> Tensor:
            return problem.outputs(parameters, inputs)

        def product(vector: Vectors) -> Vectors:
            tangent = jvp(outputs, (problem.parameters,), (vector,))[1]
            (answer,) = pull(problem.objective.output_hessian_product(at, targets, tangent))
            return answer

        at, pull = vjp(outputs, problem.parameters)[:2]
        result: Vectors = vmap(product)(vectors)
        return {name: value.detach() for name, value in result.items()}
