"""The feature vectors of examples: what a model's last linear layer is given."""

import math

import torch
from torch import Tensor, nn

from tasks.determinism import derived_seed
from tasks.errors import UserError

WIDEST = 2048
PROJECTED = 1024  # the error of a cosine is about 1 / sqrt(1024) = .03


class FeatureRecorder:
    """The input of a model's last linear layer, recorded at every forward pass while the recorder is open.

    Args:
        model: whose features are wanted.
        module: name of the module whose input to take; None: the linear layer that runs last. A model without
            a linear layer has its outputs for features.

    Raises:
        UserError: the model has no module of that name.
    """

    def __init__(self, model: nn.Module, module: str | None = None) -> None:
        self.module = module
        modules = dict(model.named_modules())
        if module is None:
            watched = [candidate for candidate in modules.values() if isinstance(candidate, nn.Linear)]
        elif module in modules:
            watched = [modules[module]]
        else:
            names = ", ".join(filter(None, modules))
            raise UserError(f"`train.features`: the model has no module {module!r}; it has {names}")
        self._last: object = None
        self._handles = [candidate.register_forward_pre_hook(self._record) for candidate in watched]

    def __enter__(self) -> "FeatureRecorder":
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self, outputs: Tensor) -> Tensor:
        """Features of the batch that has just given these outputs, [B, D]."""
        found, self._last = self._last, None
        if found is None and self.module is None:
            return outputs.flatten(1)
        if not isinstance(found, Tensor) or found.dim() == 0 or len(found) != len(outputs):
            raise UserError(
                f"`train.features`: the input of {self.module or 'the last linear layer'} "
                "is not a tensor with one row an example; name another module"
            )
        return found.reshape(len(found), -1)

    def _record(self, module: nn.Module, arguments: tuple[object, ...]) -> None:
        self._last = arguments[0] if arguments else None


class Projection:
    """Keeps stored features small: above 2,048 numbers they become 1,024 by a random projection.

    The projection is Gaussian and keeps lengths and distances in expectation, so that neighbours stay
    neighbours. With the tf-idf of texts the features are the input itself, wide and mostly zero.

    Args:
        seed: of the projection, which is the same for all batches.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._matrix: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """Features [B, D] as they are, or projected to [B, 1024]."""
        width = features.shape[1]
        if width <= WIDEST:
            return features
        if self._matrix is None:
            generator = torch.Generator().manual_seed(derived_seed(self._seed, width))
            matrix = torch.randn(width, PROJECTED, generator=generator) / math.sqrt(PROJECTED)
            self._matrix = matrix.to(features.device)
        return features.float() @ self._matrix
