"""Ground truth: models trained to their minimum, and trained again without some of their examples."""

from influence.retraining.adam import NOBODY, AdamState, continue_adam, shuffled_batches
from influence.retraining.batched import Retraining, Run, stacked_outputs
from influence.retraining.descent import Recipe, descend
from influence.retraining.exact import NotConvergedError, Retrained, retrain_without
from influence.retraining.hinge import HingeMinimum, minimise_hinge
from influence.retraining.minimise import full_gradient, minimise

__all__ = [
    "NOBODY",
    "AdamState",
    "HingeMinimum",
    "NotConvergedError",
    "Recipe",
    "Retrained",
    "Retraining",
    "Run",
    "continue_adam",
    "descend",
    "full_gradient",
    "minimise",
    "minimise_hinge",
    "retrain_without",
    "shuffled_batches",
    "stacked_outputs",
]
