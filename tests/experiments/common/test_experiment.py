import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from experiments.common.experiment import DATA, Result, Setting, perform
from experiments.common.figures import identity_line, panels
from tasks.errors import UserError
from tasks.parameters import Section


class Parameters(Section):
    repeats: int = 2


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(DATA, raising=False)
    (tmp_path / "params.yaml").write_text("seed: 3\ncoin: {repeats: 4}\n")
    return tmp_path


def coin(setting: Setting, parameters: Parameters) -> Result:
    drawn = setting.part("draws", lambda: {"heads": torch.rand(parameters.repeats)})["heads"]
    figure, (axis,) = panels()
    axis.plot(drawn.tolist(), drawn.tolist(), "o")
    identity_line(axis)
    return Result({"heads": float(drawn.sum())}, figure, "a fair coin")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_metrics_a_figure_and_a_verdict_are_left_and_a_seed_gives_the_same_bytes(root: Path) -> None:
    perform(root, "coin", Parameters, coin)
    first = contents(root / "coin")
    assert list(first) == ["figure.png", "figure.svg", "metrics.json"]
    torch.manual_seed(3)
    assert json.loads(first["metrics.json"]) == {"heads": float(torch.rand(4).sum()), "verdict": "a fair coin"}
    perform(root, "coin", Parameters, coin)
    assert contents(root / "coin") == first
    assert not (root / ".work/coin").exists(), "finished work leaves nothing behind"


def test_finished_parts_outlive_a_kill_unless_a_parameter_changes(root: Path) -> None:
    counted: list[str] = []

    def killed(setting: Setting, parameters: Parameters) -> Result:
        def work() -> dict[str, Tensor]:
            counted.append("work")
            return {"value": torch.ones(1)}

        setting.part("first", work)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            perform(root, "coin", Parameters, killed)
    assert len(counted) == 1
    (root / "params.yaml").write_text("coin: {repeats: 5}\n")
    with pytest.raises(KeyboardInterrupt):
        perform(root, "coin", Parameters, killed)
    assert len(counted) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("coin: {repeats: many}", r"`coin.repeats`: .*integer.*got 'many'"),
        ("coin: {times: 4}", r"`coin.times`: Extra inputs are not permitted"),
        ("[1]", "must hold a section for every experiment"),
        ("a: b: c", "is not valid YAML"),
    ],
)
def test_a_wrong_parameter_is_named(root: Path, text: str, sentence: str) -> None:
    (root / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        perform(root, "coin", Parameters, coin)


def test_missing_data_are_one_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def needing(setting: Setting, parameters: Parameters) -> Result:
        setting.data("mnist")
        raise AssertionError("the data were said to be there")

    with pytest.raises(UserError, match=f"set {DATA}, or `data_root`"):
        perform(root, "coin", Parameters, needing)
    monkeypatch.setenv(DATA, str(root))
    with pytest.raises(UserError, match=r"mnist is missing: experiments/README.md"):
        perform(root, "coin", Parameters, needing)
    (root / "mnist").mkdir()
    with pytest.raises(AssertionError, match="said to be there"):
        perform(root, "coin", Parameters, needing)
