"""MNIST from its files, and models trained on it."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.optimize
import torch
import torch.nn.functional as F
import typer
from torch import nn

from influence.problem import TensorData
from tasks.parameters import IdxSource
from tasks.sources import idx

Flat = np.ndarray[tuple[int], np.dtype[np.float64]]

VARIABLE = "INFLUENCE_DATA"


def mnist_folder(given: Path | None) -> Path:
    """The folder that was given, or `mnist` in the one that INFLUENCE_DATA names.

    Raises:
        typer.BadParameter: neither is there.
    """
    folder = given or Path(os.environ.get(VARIABLE, ".")) / "mnist"
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}: give the files of MNIST with --data or {VARIABLE}")
    return folder


def read_mnist(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[TensorData, TensorData]:
    """The 60,000 training and 10,000 test images, [N, 784] from 0 to 1, with their digits."""
    train, test = (_read(folder, part, dtype) for part in ("train", "t10k"))
    return train, test


def _read(folder: Path, part: str, dtype: torch.dtype) -> TensorData:
    (file,) = sorted(folder.glob(f"{part}-images*"))
    examples = idx.read(IdxSource(kind="idx"), file)
    assert isinstance(examples.inputs, np.ndarray)
    labels = torch.tensor([int(label) for label in examples.labels])
    return TensorData(torch.from_numpy(examples.inputs).flatten(1).to(dtype) / 255, labels)


def fit_softmax_regression(train: TensorData, decay: float) -> tuple[nn.Linear, float]:
    """Softmax regression without bias, solved by L-BFGS in float64, and the norm of the gradient that is left."""
    model = nn.Linear(train.inputs.shape[1], 10, bias=False).double()
    shape = model.weight.shape

    def objective(flat: Flat) -> tuple[float, Flat]:
        weight = torch.from_numpy(flat).view(shape).requires_grad_(True)
        loss = F.cross_entropy(train.inputs @ weight.T, train.targets) + decay / 2 * weight.square().sum()
        (gradient,) = torch.autograd.grad(loss, weight)
        flat_gradient: Flat = gradient.flatten().numpy()
        return loss.item(), flat_gradient

    found = scipy.optimize.minimize(
        objective,
        np.zeros(shape.numel()),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1000, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30},
    )
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(found.x).view(shape))
    return model, float(np.linalg.norm(found.jac))


def mlp() -> nn.Module:
    """The network 784-256-128-10 with ReLU, untrained."""
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def fit_network(
    train: TensorData, epochs: int = 10, batch: int = 128, seed: int = 0, build: Callable[[], nn.Module] = mlp
) -> tuple[nn.Module, float]:
    """A network trained by Adam at 1e-3, and its mean training loss."""
    torch.manual_seed(seed)
    model = build()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(batch):
            optimiser.zero_grad()
            F.cross_entropy(model(train.inputs[rows]), train.targets[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        return model, float(F.cross_entropy(model(train.inputs), train.targets))
