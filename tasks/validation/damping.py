"""`damping: auto`: of several dampings the one whose scores predict retraining best, on queries kept for that alone.

The tuning queries are validation examples that the run does not report on, so that what `validate` measures later is
not what was tuned. Both share the retrainings.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from influence.fidelity import datamodelling_score
from influence.layers import PerExampleGradients, as_vectors
from influence.memory import gradient_batch
from influence.scores import Pairwise
from influence.scores.group import first_order_groups
from influence.vectors import Vectors
from tasks.dataset import Split
from tasks.errors import UserError
from tasks.parameters import Parameters, RelativeDamping
from tasks.shards import Shards
from tasks.validation.halves import retrain
from tasks.validation.retrainer import Retrainer

DRAW = 9  # purpose of random numbers
Solve = Callable[[RelativeDamping, Vectors], Vectors]  # solutions at this damping for a block of right-hand sides


def require_training(parameters: Parameters) -> None:
    """Make sure that a damping that is to be chosen by retraining can be.

    Raises:
        UserError: the training is not known.
    """
    if parameters.precondition.damping == "auto" and parameters.train.checkpoint is not None:
        raise UserError(
            "`precondition.damping: auto` measures by retraining, but the weights were given and the training that "
            "made them is not known: give a damping"
        )


def tuning_queries(validation: Split, reported: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of validation examples drawn at random among those that are not reported on.

    Raises:
        UserError: there are none.
    """
    others = np.setdiff1d(np.arange(len(validation)), reported)
    if not len(others):
        raise UserError(
            "`precondition.damping: auto` needs validation examples that are no queries: lower `precondition.queries`, "
            "or raise `prepare.validation`"
        )
    return np.sort(np.random.default_rng([seed, DRAW]).permutation(others)[:count])


def tune(
    shards: Shards, retrainer: Retrainer, gradients: PerExampleGradients, reported: np.ndarray, solve: Solve
) -> dict[float, float]:
    """How well influence predicts retraining at every damping that may be chosen.

    Args:
        shards: keep what has been measured.
        retrainer: trains on halves.
        gradients: of the trained model.
        reported: positions of the queries of the run.
        solve: by the solver of the run.

    Returns:
        linear datamodelling score on the tuning queries, by damping as a multiple of the mean eigenvalue.
    """
    parameters, train = retrainer.parameters, retrainer.train
    settings = parameters.precondition.tuning
    queries = tuning_queries(retrainer.validation, reported, settings.queries, parameters.seed)
    halves = retrain(retrainer, settings.subsets, settings.seeds)
    actual = halves.at(queries).mean(dim=0)
    left_out = [torch.nonzero(~row).squeeze(1) for row in halves.members]
    inputs, targets = retrainer.validation.batch(queries, retrainer.device)
    right = as_vectors(gradients, gradients.read(inputs, targets=targets))
    size = gradient_batch(gradients.problem, inputs[:1], parameters.compute.memory_bytes)
    names = {f"damping-{share:g}": share for share in settings.dampings}

    def score(name: str) -> dict[str, Tensor]:
        pairwise = Pairwise(gradients, solve(RelativeDamping(relative=names[name]), right), len(train))
        predicted = first_order_groups(pairwise, train, left_out, size)
        found = datamodelling_score(predicted.double().cpu(), actual)
        print(f"precondition: damping {names[name]:g} x mean eigenvalue has LDS {found:.3f}", flush=True)
        return {"score": torch.tensor(found, dtype=torch.float64)}

    shards.run(list(names), score)
    return {share: float(shards.read(name)["score"]) for name, share in names.items()}
