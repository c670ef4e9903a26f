"""Trained weights put into the model they belong to."""

from pathlib import Path

import torch
from torch import Tensor, nn

from tasks.artifacts import Encoding
from tasks.errors import UserError
from tasks.models.building import build
from tasks.parameters import Parameters
from tasks.tensors import read_tensors
from tasks.workspace import Workspace

NAMED = 3  # tensors named in one message


def load_model(workspace: Workspace, parameters: Parameters, encoding: Encoding, device: torch.device) -> nn.Module:
    """The trained model of model/weights.safetensors, in evaluation mode.

    Raises:
        UserError: the file is missing or damaged, or is of another model than params.yaml describes.
    """
    model = build(parameters.train, encoding, parameters.seed)
    load_weights(model, workspace.weights, parameters.train.factory)
    return model.to(device).eval()


def load_weights(model: nn.Module, path: Path, factory: str) -> None:
    """Fill a model with the tensors of a safetensors file, which must have its names and shapes exactly.

    Raises:
        UserError: the file cannot be read, or does not fit the model.
    """
    stored, _ = read_tensors(path)
    wanted: dict[str, Tensor] = model.state_dict()
    problems = [
        _listed("lacks", [name for name in wanted if name not in stored]),
        _listed("has besides", [name for name in stored if name not in wanted]),
        _listed(
            "differs in",
            [
                f"{name} ({list(stored[name].shape)} there, {list(wanted[name].shape)} in the model)"
                for name in wanted
                if name in stored and stored[name].shape != wanted[name].shape
            ],
        ),
    ]
    if found := "; ".join(filter(None, problems)):
        raise UserError(
            f"{path} is not of the model of `train.factory: {factory}` with its `train.arguments`: it {found}"
        )
    model.load_state_dict(stored)


def _listed(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{verb} {', '.join(names[:NAMED])}{more}"
