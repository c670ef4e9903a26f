"""A linear model on tf-idf rows."""

from collections import OrderedDict

from pydantic import validate_call
from torch import nn

from tasks.errors import UserError


@validate_call
def text_linear(shape: tuple[int, ...], classes: int) -> nn.Module:
    """One linear layer that starts from zero: [B, words] to logits [B, classes].

    From a random start the weights of rare words would stay random. Rows of tf-idf have length 1 and few
    entries, so that SGD wants a learning rate near 1, and Adam one near 0.01.

    Raises:
        UserError: the inputs are not rows.
    """
    if len(shape) != 1:
        raise UserError(f"`train.factory`: text_linear is for texts, but the inputs are {list(shape)}; use cnn")
    output = nn.Linear(shape[0], classes)
    nn.init.zeros_(output.weight)
    nn.init.zeros_(output.bias)
    return nn.Sequential(OrderedDict(output=output))
