"""The anchor: predicted influence against real retraining of a convex model."""

import torch
from torch import nn

from influence.curvature import FactoredGaussNewton, Regularisation
from influence.inverse import conjugate_gradient
from influence.layers import PerExampleGradients, as_vectors
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem, TensorData
from influence.scores import Pairwise

DECAY, EXAMPLES, LEFT_OUT = 0.05, 600, 60


def train(inputs: torch.Tensor, targets: torch.Tensor) -> nn.Linear:
    """Softmax regression to the optimum, biases not regularised."""
    torch.manual_seed(0)
    model, objective = nn.Linear(4, 3).double(), SoftmaxCrossEntropy(DECAY)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0.0)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = objective.loss(model(inputs), targets).mean() + objective.regularisation(dict(model.named_parameters()))
        loss.backward()
        return loss

    optimiser.step(closure)
    return model


def test_influence_predicts_the_change_of_loss_when_an_example_is_left_out() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(EXAMPLES + 5, 4, generator=generator, dtype=torch.float64)
    logits = inputs @ torch.randn(4, 3, generator=generator, dtype=torch.float64)
    targets = (logits + torch.randn(logits.shape, generator=generator)).argmax(dim=1)
    data = TensorData(inputs[:EXAMPLES], targets[:EXAMPLES])
    queries = TensorData(inputs[EXAMPLES:], targets[EXAMPLES:])

    problem = Problem(train(data.inputs, data.targets), SoftmaxCrossEntropy(DECAY))
    gradients = PerExampleGradients(problem, data.inputs[:2])
    right = as_vectors(gradients, gradients.read(queries.inputs, targets=queries.targets))
    # Without damping softmax regression is singular along a common shift of its unregularised biases.
    operator = FactoredGaussNewton(gradients, data) + Regularisation(problem) + 1e-8
    solution = conjugate_gradient(operator, right, tolerance=1e-10)
    predicted = Pairwise(gradients, solution.vectors, EXAMPLES).batch(data.inputs, data.targets)[:, :LEFT_OUT]

    before = problem.objective.loss(problem.model(queries.inputs), queries.targets).detach()
    actual = torch.empty_like(predicted)
    for index in range(LEFT_OUT):
        keep = torch.arange(EXAMPLES) != index
        model = train(data.inputs[keep], data.targets[keep])
        actual[:, index] = problem.objective.loss(model(queries.inputs), queries.targets).detach() - before
    correlation = torch.corrcoef(torch.stack([predicted.flatten(), actual.flatten()]))[0, 1]
    assert correlation >= 0.9999
    slope = (predicted * actual).sum() / predicted.square().sum()  # the unit: nats, not up to a factor
    assert 1.0 <= slope <= 1.02  # the first order falls short by about the leverage of the example
