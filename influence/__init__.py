"""Influence functions for any differentiable model: tensors in, tensors out.

`from influence import Influence, SoftmaxCrossEntropy` is the short way in. Names are loaded when they are asked for, so
that the light modules of this package can be used without loading torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence.damping import Relative
    from influence.engine import Influence
    from influence.measurement import Logit
    from influence.objective import (
        BinaryCrossEntropy,
        Hinge,
        Objective,
        SmoothHinge,
        SoftmaxCrossEntropy,
        SquaredError,
    )

__all__ = [
    "BinaryCrossEntropy",
    "Hinge",
    "Influence",
    "Logit",
    "Objective",
    "Relative",
    "SmoothHinge",
    "SoftmaxCrossEntropy",
    "SquaredError",
]

_MODULES = {
    "BinaryCrossEntropy": "objective",
    "Hinge": "objective",
    "Influence": "engine",
    "Logit": "measurement",
    "Objective": "objective",
    "Relative": "damping",
    "SmoothHinge": "objective",
    "SoftmaxCrossEntropy": "objective",
    "SquaredError": "objective",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
