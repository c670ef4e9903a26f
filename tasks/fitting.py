"""Training by stochastic gradients, to the bit the same whether it runs through or goes on after a kill."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from influence.objective import Objective
from influence.retraining import Recipe, descend
from tasks.checkpoint import EpochResult, TrainingState, optimizer_tensors, restore_optimizer
from tasks.dataset import Split
from tasks.determinism import derived_seed
from tasks.errors import UserError
from tasks.parameters import Train
from tasks.predict import Evaluation, evaluate
from tasks.progress import Progress


class Fit:
    """A model on its way to the minimum of its objective.

    Nothing is carried from one epoch to the next but what `TrainingState` holds: order and random numbers of
    an epoch come from the seed and its number, the learning rate from the number of the step.

    Args:
        model: on the device it is trained on; changed in place.
        objective: what is minimised: mean loss plus regularisation.
        training: the examples it is minimised over.
        validation: the examples that choose the epoch.
        parameters: how to train.
        seed: of the order of examples, and of stochastic layers.
        batch_size: examples evaluated at once.
        state: where an earlier run had come to.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        training: Split,
        validation: Split,
        parameters: Train,
        seed: int,
        batch_size: int,
        state: TrainingState | None = None,
    ) -> None:
        self.model, self.objective = model, objective
        self.training, self.validation = training, validation
        self.parameters, self.seed, self.batch_size = parameters, seed, batch_size
        self.device = next(model.parameters()).device
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(trained, parameters)
        if state is None:
            state = TrainingState(_on_cpu(model), {}, {}, torch.empty(0, len(training)))
        else:
            model.load_state_dict(state.weights)
            restore_optimizer(self.optimizer, state.optimizer)
        self.state = state

    def run(self, save: Callable[[TrainingState], None]) -> TrainingState:
        """Train until the last epoch, or until `patience` epochs have not lowered the validation loss.

        Args:
            save: called with the state after every epoch.

        Raises:
            UserError: the loss is no longer finite.
        """
        total = self.parameters.epochs * len(self.training)
        progress = Progress("train", total, done=self.state.epoch * len(self.training))
        while not self.finished:
            self._descend(progress)
            self.state = self._evaluated()
            save(self.state)
        return self.state

    @property
    def finished(self) -> bool:
        waited = self.state.epoch - self.state.best_epoch
        patience = self.parameters.patience
        return self.state.epoch >= self.parameters.epochs or (patience is not None and waited >= patience)

    def _descend(self, progress: Progress) -> None:
        """One epoch of steps."""
        epoch = self.state.epoch + 1
        steps = descend(
            self.model,
            self.objective,
            self.optimizer,
            recipe(self.parameters),
            partial(self.training.batch, device=self.device),
            len(self.training),
            self.seed,
            epoch,
        )
        for examples in steps:
            progress.advance(examples, f"epoch {epoch} of {self.parameters.epochs}")

    def _evaluated(self) -> TrainingState:
        """The state at the end of an epoch."""
        epoch = self.state.epoch + 1
        training, validation = (
            evaluate(self.model, split, self.objective, self.batch_size) for split in (self.training, self.validation)
        )
        self._require_finite(epoch, training, validation)
        result = EpochResult(epoch, training.mean_loss, training.accuracy, validation.mean_loss, validation.accuracy)
        print(
            f"train: epoch {epoch} of {self.parameters.epochs}: train loss {result.train_loss:.4f}, "
            f"validation loss {result.validation_loss:.4f}, "
            f"validation accuracy {result.validation_accuracy:.1%}",
            flush=True,
        )
        history = [*self.state.history, result]
        weights = _on_cpu(self.model)
        best = min(history, key=lambda past: past.validation_loss).epoch
        return TrainingState(
            weights=weights,
            best_weights=weights if best == epoch else self.state.best_weights,
            optimizer=optimizer_tensors(self.optimizer),
            margins=torch.cat([self.state.margins, training.margins[None]]),
            history=history,
        )

    def _require_finite(self, epoch: int, *evaluations: Evaluation) -> None:
        for evaluation in evaluations:
            if not math.isfinite(evaluation.mean_loss) or not evaluation.margins.isfinite().all():
                raise UserError(
                    f"training diverged at epoch {epoch} (loss is {evaluation.mean_loss}): lower "
                    f"`train.learning_rate`, now {self.parameters.learning_rate}, or look for extreme inputs"
                )


def recipe(parameters: Train) -> Recipe:
    """How these parameters train a model, for the first time and again."""

    def rate(step: int, steps: int) -> float:
        return learning_rate(parameters, step, steps)

    optimizer = partial(make_optimizer, parameters=parameters)
    return Recipe(optimizer, rate, parameters.epochs, parameters.batch_size, derived_seed)


def make_optimizer(trained: Sequence[Tensor], parameters: Train) -> torch.optim.Optimizer:
    """The optimizer of these tensors. Weight decay is in the objective, not here."""
    if parameters.optimizer == "adam":
        return torch.optim.Adam(trained, parameters.learning_rate)
    return torch.optim.SGD(trained, parameters.learning_rate, momentum=parameters.momentum)


def learning_rate(parameters: Train, step: int, steps: int) -> float:
    """The rate at a step, counted from 0 over all epochs: constant, or half a cosine down to 0."""
    if parameters.schedule == "constant":
        return parameters.learning_rate
    return parameters.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
