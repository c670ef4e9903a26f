"""The state of a training run, saved and read back."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tasks.checkpoint import (
    EpochResult,
    TrainingState,
    load_state,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from tasks.fitting import make_optimizer
from tasks.parameters import Train


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    return TrainingState(
        weights=model.state_dict(),
        best_weights={"weight": torch.zeros(2)},
        optimizer=optimizer_tensors(optimizer),
        margins=torch.randn(2, 7),
        history=[EpochResult(1, 0.1 + 0.2, 0.5, 1 / 3, 0.25), EpochResult(2, 0.1, 0.5, 0.7, 0.25)],
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(4, 3)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("train", [Train(), Train(momentum=0.0), Train(optimizer="adam")])
def test_a_restored_run_takes_the_same_steps(tmp_path: Path, train: Train) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = make_optimizer(list(model.parameters()), train)
    for _ in range(3):
        step(model, optimizer)
    saved = state_of(model, optimizer)
    save_state(tmp_path / "state.safetensors", saved)
    loaded = load_state(tmp_path / "state.safetensors")
    assert loaded is not None
    assert loaded.history == saved.history  # floats come back to the bit
    assert (loaded.epoch, loaded.best_epoch) == (2, 1)
    assert torch.equal(loaded.margins, saved.margins)
    assert torch.equal(loaded.best_weights["weight"], torch.zeros(2))

    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other.load_state_dict(loaded.weights)
    other_optimizer = make_optimizer(list(other.parameters()), train)
    restore_optimizer(other_optimizer, loaded.optimizer)
    for _ in range(2):
        step(model, optimizer)
        step(other, other_optimizer)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_no_state_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path / "state.safetensors") is None


@pytest.mark.parametrize("damage", ["cut", "number", "empty"])
def test_a_damaged_state_is_reported_and_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    path = tmp_path / "state.safetensors"
    model = nn.Linear(3, 2)
    save_state(path, state_of(model, make_optimizer(list(model.parameters()), Train())))
    content = bytearray(path.read_bytes())
    if damage == "number":
        content[-1] ^= 1  # a changed number, which safetensors itself does not notice
    path.write_bytes({"cut": content[:-8], "number": content, "empty": b""}[damage])
    assert load_state(path) is None
    assert "starting again, because the saved state is damaged" in capsys.readouterr().out
