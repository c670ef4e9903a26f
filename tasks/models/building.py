"""A model of the factory that params.yaml names, checked before any work is spent on it."""

import inspect
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tasks.artifacts import Encoding
from tasks.determinism import derived_seed
from tasks.errors import UserError
from tasks.models.cnn import cnn
from tasks.models.logistic import logistic
from tasks.models.mlp import mlp
from tasks.models.text_linear import text_linear
from tasks.objects import load_object
from tasks.parameters import Train

Factory = Callable[..., nn.Module]

FACTORIES: dict[str, Factory] = {"logistic": logistic, "mlp": mlp, "cnn": cnn, "text_linear": text_linear}


def build(train: Train, encoding: Encoding, seed: int) -> nn.Module:
    """A model with weights drawn from the seed, on the CPU.

    Raises:
        UserError: the factory is not known, does not take its arguments, or gives no module that maps a batch
            of these inputs to one logit a class.
    """
    factory = find_factory(train.factory)
    try:
        inspect.signature(factory).bind(encoding.shape, len(encoding.classes), **train.arguments)
    except TypeError as error:
        raise UserError(
            f"`train.arguments`: {train.factory} cannot be called with them ({error}); it is "
            f"{getattr(factory, '__name__', train.factory)}{_signature(factory)}"
        ) from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed))
        try:
            model = factory(encoding.shape, len(encoding.classes), **train.arguments)
        except ValidationError as error:
            raise UserError("; ".join(_sentences(error))) from None
    if not isinstance(model, nn.Module):
        raise UserError(f"`train.factory`: {train.factory} returned a {type(model).__name__}, not a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"`train.factory`: the model of {train.factory} has no parameters to train")
    _check_outputs(model, train.factory, encoding)
    return model


def find_factory(name: str) -> Factory:
    """The factory of a short name or of `package.module:function`.

    Raises:
        UserError: there is none.
    """
    if ":" in name:
        return load_object(name, "train.factory")
    if name not in FACTORIES:
        raise UserError(
            f"`train.factory`: there is no {name!r}; write {', '.join(FACTORIES)}, or package.module:function"
        )
    return FACTORIES[name]


def factory_source(name: str) -> Path | None:
    """The file that defines one's own factory; None for a ready-made one, or where there is no such file."""
    if ":" not in name:
        return None
    try:
        found = inspect.getsourcefile(inspect.unwrap(find_factory(name)))
    except TypeError:  # written in C, or an object that is called
        return None
    return Path(found) if found else None


def _check_outputs(model: nn.Module, name: str, encoding: Encoding) -> None:
    expected = [2, len(encoding.classes)]
    model.eval()
    try:
        with torch.no_grad():
            outputs = model(torch.zeros(2, *encoding.shape))
    except (RuntimeError, ValueError, IndexError) as error:
        raise UserError(
            f"`train.factory`: the model of {name} cannot take inputs {[2, *encoding.shape]}: {error}"
        ) from error
    if not isinstance(outputs, Tensor):
        raise UserError(
            f"`train.factory`: the model of {name} gives a {type(outputs).__name__}, not a tensor of logits"
        )
    if list(outputs.shape) != expected:
        raise UserError(
            f"`train.factory`: the model of {name} puts out shape {list(outputs.shape)} for a batch of 2; "
            f"expected was {expected}, one logit for each of the {expected[1]} classes"
        )
    model.train()


def _signature(factory: Factory) -> str:
    signature = inspect.signature(factory)
    return str(signature.replace(return_annotation=inspect.Signature.empty))


def _sentences(error: ValidationError) -> list[str]:
    return [
        f"`train.arguments.{'.'.join(map(str, problem['loc']))}`: {problem['msg']}, got {problem['input']!r}"
        for problem in error.errors()
    ]
