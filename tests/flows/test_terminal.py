"""What the commands that ask something print."""

from pathlib import Path

import numpy as np
import pytest

from flows.terminal import print_audit, print_comparison, print_explanation, print_slices
from tasks.reporting.auditing import Audit, Count, Share, Target
from tasks.reporting.comparison import Comparison, Side
from tasks.reporting.explanation import Explanation, Neighbour
from tasks.reporting.slicing import Influence, Part, Slice, Slices
from tasks.workspace import Workspace


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def cells(printed: str) -> dict[str, list[str]]:
    """The cells of every row of the tables, by the first."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines() if line.startswith("│")]
    return {row[0]: row[1:] for row in rows}


def test_an_explanation_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    helpful = [Neighbour("h1", "cat", "cat", 0.0123), Neighbour("[red]h2[/red]", "[b]", "cat", 0.001)]
    harmful = [Neighbour("x1", "dog", "cat", -0.5)]
    print_explanation(Explanation("[q]", "validation", "cat", "dog", 1.25, 0.01, 0.05, helpful, harmful))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[q] (validation): label cat, predicted dog, loss 1.2500 nats"
    rows = {line.split()[1]: line for line in lines if line.startswith("│")}
    assert list(rows) == ["h1", "[red]h2[/red]", "x1"]
    assert "+0.0123" in rows["h1"]
    assert "-0.5" in rows["x1"]
    assert "relative residual 0.05" in " ".join(lines)


def test_slices_are_printed_with_their_errors_and_who_misleads_them(capsys: pytest.CaptureFixture[str]) -> None:
    part = Part(40, 10, 0.142, 0.402, 0.5)
    slices = [Slice("[b]north", part, part, 3), Slice("south", part, None, None)]
    influences = [Influence(0, 0, 0.4, 0.01), Influence(1, 0, -0.8, -0.02)]
    print_slices(Slices("[q]", "test", slices, influences, 0.01, 0.05))
    printed = capsys.readouterr().out
    assert printed.startswith("By [q], evaluated on test")
    errors, influence = printed.split("Influence in 10⁻² nats")
    rows = cells(errors)
    assert rows["[b]north"] == ["40", "40", "25.0%", "14.2% to 40.2%", "0.500"]
    assert rows["south"] == ["40", "-", "-", "-", "-"]
    assert cells(influence) == {"[b]north": ["[b]north", "+1.00", "south", "−2.00"]}
    assert "overlap" in printed and "relative residual 0.05" in " ".join(printed.split())


def test_an_audit_is_printed_with_its_controls(capsys: pytest.CaptureFixture[str]) -> None:
    counts = [Count(1, Share(1, 4), Share(0, 4), Share(2, 4)), Count(2, Share(3, 4), Share(0, 4), Share(4, 4))]
    targets = [Target("q", "a", 1, "t", "b", np.zeros((1, 2, 2)))] * 4
    print_audit(Audit("test", counts, targets, 60, 0.9, 0.95, 20, 1.0, 8.0, 7.5))
    printed = capsys.readouterr().out
    assert printed.startswith("One changed training image flips 25\u202f% of the predictions.")
    assert cells(printed)["2"] == ["75%", "30% to 95%", "0%", "100%"]
    assert "No pixel moved by more than 7.5 of 255 levels" in printed


def test_a_comparison_is_printed_with_both_explanations(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    helpful, harmful = [Neighbour("h", "cat", "cat", 0.01)], [Neighbour("[x]", "dog", "cat", -0.5)]
    own = Explanation("q", "test", "cat", "dog", 1.25, 0.01, 0.05, helpful, harmful)
    sides = [Side(name, Workspace(tmp_path), own, 0.125, 60, 0.3, None, 0.75, []) for name in ("[one]", "two")]
    print_comparison(Comparison("q", (sides[0], sides[1]), 60, None, 10, 1, 0))
    printed = capsys.readouterr().out
    assert printed.startswith("q (test): label cat")
    rows = cells(printed)
    assert rows["Predicted"] == ["dog", "dog"] and rows["Probability of the label"] == ["12.5%", "12.5%"]
    assert rows["Helpful, of those with its label"] == ["-", "-"] and rows["Helpful, of the others"] == ["75%", "75%"]
    assert "rank correlation of their influences -; of the 10 most helpful 1 in common" in " ".join(printed.split())
    assert "[one]: helpful" in printed and "two: harmful" in printed and "[x]" in printed
