"""Train the models once and store them with the data: `python -m benchmarks.speed.prepare MNIST FOLDER ...`."""

import argparse
from functools import partial
from pathlib import Path

import torch

from benchmarks.mnist import fit_network, fit_softmax_regression, read_mnist
from benchmarks.speed.bench import DECAY, ModelName, build
from influence.problem import TensorData


def main() -> None:
    """Data of the largest size asked for; models trained on the first `--examples` of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mnist", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, required=True)
    parser.add_argument("--queries", type=int, required=True)
    given = parser.parse_args()
    train, test = read_mnist(given.mnist)
    torch.save({"inputs": train.inputs, "targets": train.targets}, given.folder / "train.pt")
    queries = {"inputs": test.inputs[: given.queries].clone(), "targets": test.targets[: given.queries].clone()}
    torch.save(queries, given.folder / "queries.pt")
    train = TensorData(train.inputs[: given.examples].clone(), train.targets[: given.examples].clone())
    regression, _ = fit_softmax_regression(TensorData(train.inputs.double(), train.targets), DECAY)
    torch.save(regression.float().state_dict(), given.folder / "regression.pt")
    epochs_of: dict[ModelName, int] = {"mlp": 10, "cnn": 3}
    for name, epochs in epochs_of.items():
        model, loss = fit_network(train, epochs, build=partial(build, name))
        parameters = sum(value.numel() for value in model.parameters())
        print(f"{name.upper()}: {parameters:,} parameters, training loss {loss:.4f}")
        torch.save(model.state_dict(), given.folder / f"{name}.pt")


if __name__ == "__main__":
    main()
