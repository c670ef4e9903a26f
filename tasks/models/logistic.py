"""Logistic regression."""

from collections import OrderedDict
from math import prod

from pydantic import validate_call
from torch import nn


@validate_call
def logistic(shape: tuple[int, ...], classes: int) -> nn.Module:
    """One linear layer on the flattened input: [B, *shape] to logits [B, classes]."""
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), output=nn.Linear(prod(shape), classes)))
