"""The Hessian of the mean loss, as an operator.

Away from a minimum, and at the saddle points that networks are left in, it has negative eigenvalues: solvers name
them. `GaussNewton` is its positive semi-definite part that influence functions of networks are usually built on.
"""

from torch import Tensor
from torch.func import grad, jvp, vmap

from influence.curvature.batched import BatchedOperator
from influence.vectors import Vectors


class Hessian(BatchedOperator):
    """Products with 1/n sum_i d2 loss_i / d theta2 over all examples of `data`, without the regularisation.

    Forward over reverse: the directional derivative of the gradient. The order matters: in reverse over forward, torch
    is wrong about layer normalisation (pytorch issue 196700). Arguments: see `BatchedOperator`.
    """

    copies = 8

    def batch_product(self, inputs: Tensor, targets: Tensor, vectors: Vectors) -> Vectors:
        problem = self.problem

        def loss(parameters: Vectors) -> Tensor:
            return problem.loss(parameters, inputs, targets).sum()

        def product(vector: Vectors) -> Vectors:
            answer: Vectors = jvp(grad(loss), (problem.parameters,), (vector,))[1]
            return answer

        result: Vectors = vmap(product)(vectors)
        return {name: value.detach() for name, value in result.items()}
