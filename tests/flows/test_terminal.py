"""What `influence explain` prints."""

import pytest

from flows.terminal import print_explanation
from tasks.reporting.explanation import Explanation, Neighbour


def test_an_explanation_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
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
