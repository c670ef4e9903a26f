"""What a model is trained on, as pure functions: loss of outputs, regularisation of parameters, margins.

The objective whose minimum the model is taken to be is

    J(theta) = 1/n * sum_i loss(f(theta, x_i), y_i) + regularisation(theta).

Splitting outputs from loss is what makes the Gauss-Newton matrix possible.
"""

from influence.objective.base import Objective, Parameters
from influence.objective.binary import BinaryCrossEntropy
from influence.objective.hinge import Hinge, SmoothHinge
from influence.objective.margin_loss import MarginLoss
from influence.objective.softmax import SoftmaxCrossEntropy
from influence.objective.squared_error import SquaredError

__all__ = [
    "BinaryCrossEntropy",
    "Hinge",
    "MarginLoss",
    "Objective",
    "Parameters",
    "SmoothHinge",
    "SoftmaxCrossEntropy",
    "SquaredError",
]
