"""The documents tell the truth: their Python runs, their YAML is accepted, their commands and files exist."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml

from flows.cli import app
from tasks.parameters import Parameters

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = [page for page in PAGES if page.name in ("concepts.md", "bring-your-own-model.md")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^ {4}(?:[A-Z_]+=\S+ )*|`)influence ([a-z-]+)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


def blocks(page: Path, language: str) -> Iterator[str]:
    return (code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_python_runs_from_top_to_bottom(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": page.stem}
    found = list(blocks(page, "python"))
    assert found
    for code in found:
        exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_parameters_are_accepted(page: Path) -> None:
    for code in blocks(page, "yaml"):
        written = yaml.safe_load(code)
        if isinstance(written, dict) and written.keys() <= {*Parameters.model_fields, "validate"}:
            data = {"prepare": {"path": "x", "source": {"kind": "csv", "label": "y"}}}
            Parameters.model_validate(data | written)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    used = set(COMMAND.findall(page.read_text(encoding="utf-8")))
    assert used <= known, used - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_reference_is_built_from_the_docstrings(tmp_path: Path) -> None:
    """Of one package here; `make docs` builds all."""
    command = [sys.executable, ROOT / "docs/reference.py", tmp_path, "influence.inverse"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Warn" not in done.stderr, done.stderr
    assert "relative residual" in (tmp_path / "influence/inverse/conjugate_gradient.html").read_text(encoding="utf-8")
