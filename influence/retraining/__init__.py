"""Ground truth: models trained to their minimum, and trained again without some of their examples."""

from influence.retraining.batched import Retraining, Run, stacked_outputs
from influence.retraining.descent import Recipe, descend
from influence.retraining.exact import NotConvergedError, Retrained, retrain_without
from influence.retraining.hinge import HingeMinimum, minimise_hinge
from influence.retraining.minimise import full_gradient, minimise

__all__ = [
    "HingeMinimum",
    "NotConvergedError",
    "Recipe",
    "Retrained",
    "Retraining",
    "Run",
    "descend",
    "full_gradient",
    "minimise",
    "minimise_hinge",
    "retrain_without",
    "stacked_outputs",
]
