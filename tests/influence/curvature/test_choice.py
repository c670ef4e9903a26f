import pytest
import torch

from influence.curvature import FactoredGaussNewton, GaussNewton, choose_gauss_newton
from influence.layers import PerExampleGradients
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData


@pytest.mark.parametrize(("outputs", "form"), [(2, FactoredGaussNewton), (32, FactoredGaussNewton), (33, GaussNewton)])
def test_the_form_is_chosen_by_the_number_of_outputs(outputs: int, form: type) -> None:
    data = TensorData(torch.randn(3, 2), torch.tensor([0, 1, 0]))
    problem = Problem(torch.nn.Linear(2, outputs), SoftmaxCrossEntropy())
    gradients = PerExampleGradients(problem, data.inputs[:2])
    assert type(choose_gauss_newton(gradients, data)) is form
    with pytest.raises(ValueError, match="at least one example"):
        choose_gauss_newton(gradients, TensorData(data.inputs[:0], data.targets[:0]))
