"""Which form of the Gauss-Newton matrix multiplies faster."""

from influence.curvature.factored import FactoredGaussNewton
from influence.curvature.gauss_newton import GaussNewton
from influence.layers import PerExampleGradients
from influence.problem import Data

FEW_OUTPUTS = 32  # up to here a backward pass per output is cheaper than one per vector


def choose_gauss_newton(
    gradients: PerExampleGradients, data: Data, memory_limit: int = 2**30
) -> FactoredGaussNewton | GaussNewton:
    """The Gauss-Newton matrix over all examples of `data`: factored where the model has few outputs.

    Raises:
        ValueError: there are no examples.
    """
    if not len(data):
        raise ValueError("the Gauss-Newton matrix needs at least one example")
    problem = gradients.problem
    probe, _ = next(iter(data.batches(1, problem.device)))
    if problem.outputs(problem.parameters, probe).shape[-1] <= FEW_OUTPUTS:
        return FactoredGaussNewton(gradients, data, memory_limit)
    return GaussNewton(problem, data, memory_limit)
