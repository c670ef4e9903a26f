"""Influence functions for any differentiable model: tensors in, tensors out.

`from influence import Influence, SoftmaxCrossEntropy` is the short way in. Names are loaded when they are asked for, so
that the light modules of this package can be used without loading torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence.damping import Relative
    from influence.engine import Influence
    from influence.objective import Objective, SoftmaxCrossEntropy

__all__ = ["Influence", "Objective", "Relative", "SoftmaxCrossEntropy"]

_MODULES = {"Influence": "engine", "Objective": "objective", "Relative": "damping", "SoftmaxCrossEntropy": "objective"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
