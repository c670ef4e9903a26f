"""The network below a model's last linear layer, as a differentiable function of images."""

import torch
from torch import Tensor, nn

from tasks.dataset import Split
from tasks.features import FeatureRecorder, Projection


class Extractor:
    """Images in levels from 0 to 255 to features [B, D], differentiable in the images.

    Args:
        model: the network, in evaluation mode.
        recorder: of its features, open.
        train: the training images; they say how pixels are standardised.
        seed: of the random projection of features that are too wide, see `Projection`.
        width: features kept: where there are more, the principal components of the training images'.
        batch: images at once.

    Attributes:
        training: features of the training images, [N, D].
        variance: share of their variance that is kept.
    """

    def __init__(
        self, model: nn.Module, recorder: FeatureRecorder, train: Split, seed: int, width: int, batch: int
    ) -> None:
        self.model, self.recorder, self.batch = model, recorder, batch
        self.device = next(model.parameters()).device
        details = train.encoding.details
        self._mean, self._std = (torch.tensor(details[key]).view(-1, 1, 1).to(self.device) for key in ("mean", "std"))
        self._projection = Projection(seed)
        self._components: Tensor | None = None
        self.training, self.variance = self.of(train), 1.0
        if self.training.shape[1] > width:
            self._centre = self.training.mean(dim=0)
            centred = (self.training - self._centre).double()
            values, basis = torch.linalg.eigh(centred.T @ centred)  # ascending
            self.variance = float(values[-width:].sum() / values.sum())
            self._components = basis[:, -width:].to(self.training.dtype)
            self.training = (self.training - self._centre) @ self._components

    def __call__(self, images: Tensor) -> Tensor:
        outputs = self.model((images / 255.0 - self._mean) / self._std)
        features = self._projection(self.recorder.take(outputs))
        return features if self._components is None else (features - self._centre) @ self._components

    def of(self, split: Split) -> Tensor:
        """Features of all images of a split, [N, D]."""
        parts = []
        for start in range(0, len(split), self.batch):
            images = torch.tensor(split.inputs[start : start + self.batch], dtype=torch.float32, device=self.device)
            with torch.no_grad():
                parts.append(self(images))
        return torch.cat(parts)
