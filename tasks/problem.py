"""The trained model as the mathematics sees it."""

import json
from pathlib import Path
from typing import Any

import torch

from influence.curvature import EKFAC
from influence.layers import PerExampleGradients
from influence.objective import SoftmaxCrossEntropy
from influence.problem import Problem
from tasks.artifacts import content_hash
from tasks.code import code_identity
from tasks.dataset import Split
from tasks.device import candidate_devices
from tasks.errors import UserError
from tasks.models import factory_source, load_model
from tasks.parameters import Parameters
from tasks.tensors import read_tensors
from tasks.workspace import Workspace


def load_gradients(
    workspace: Workspace, parameters: Parameters, train: Split, device: torch.device
) -> PerExampleGradients:
    """The model of model/weights.safetensors with its objective, ready to give per-example gradients.

    Raises:
        UserError: the weights do not fit the model, or the model has no gradient.
    """
    model = load_model(workspace, parameters, train.encoding, device)
    probe, _ = train.batch(slice(0, 2), device)
    try:
        problem = Problem(model, SoftmaxCrossEntropy(weight_decay=parameters.train.weight_decay))
    except ValueError as error:
        raise UserError(f"`train.factory: {parameters.train.factory}`: {error}") from None
    return PerExampleGradients(problem, probe)


def load_ekfac(workspace: Workspace, gradients: PerExampleGradients) -> tuple[EKFAC, float]:
    """The fitted EK-FAC, and the damping chosen with it.

    Raises:
        UserError: the file is missing, or was fitted for another model.
    """
    tensors, metadata = read_tensors(workspace.factors)
    try:
        device = gradients.problem.device
        ekfac = EKFAC.from_state(gradients, {name: tensor.to(device) for name, tensor in tensors.items()})
        return ekfac, float(metadata["damping"])
    except KeyError as error:
        raise UserError(f"{workspace.factors} is of another model (it lacks {error}): rerun precondition") from None


def model_identity(workspace: Workspace, parameters: Parameters, files: list[Path]) -> list[Any]:
    """All that decides what the model computes, for the fingerprint of unfinished work."""
    source = factory_source(parameters.train.factory)
    train = parameters.train
    return [
        train.factory,
        json.dumps(train.arguments, sort_keys=True),
        train.weight_decay,
        content_hash(source) if source else None,
        parameters.compute.model_dump(),
        [*code_identity(), torch.get_num_threads()],  # bits depend on these
        [device.type for device in candidate_devices(parameters.compute.device)],
        [content_hash(path) for path in (workspace.weights, workspace.encoding, *files)],
    ]
