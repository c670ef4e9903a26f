"""The page of `influence explain`: one query, and the training examples that helped and harmed it most."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tasks.artifacts import read_json
from tasks.provenance import write_page
from tasks.reporting.exhibits import load_gallery
from tasks.reporting.page import render_page
from tasks.workspace import SplitName, Workspace


@dataclass(frozen=True)
class Neighbour:
    """A training example and its influence on the query, in nats; positive is helpful."""

    example_id: str
    label: str
    predicted: str
    influence: float


@dataclass(frozen=True)
class Explanation:
    """What influenced one example.

    Attributes:
        query_id: the example that is explained, of the given split.
        label: what the data says it is; `predicted` is what the model says.
        loss: of the model on it, in nats.
        damping: added to the curvature, in absolute units.
        residual: relative residual at which its inverse-Hessian-vector product was accepted.
        helpful: training examples without which its loss would be larger, the strongest first.
        harmful: training examples without which its loss would be smaller, the strongest first.
    """

    query_id: str
    split: SplitName
    label: str
    predicted: str
    loss: float
    damping: float
    residual: float
    helpful: list[Neighbour]
    harmful: list[Neighbour]


def render_explanation(workspace: Workspace, explanation: Explanation) -> str:
    """The explanation as one self-contained HTML page.

    Raises:
        UserError: a prepared split is missing.
    """
    wanted: dict[SplitName, list[str]] = {"train": [], "validation": [], "test": []}
    wanted[explanation.split].append(explanation.query_id)
    wanted["train"] += [neighbour.example_id for neighbour in [*explanation.helpful, *explanation.harmful]]
    gallery = load_gallery(workspace, wanted)
    kind = read_json(workspace.encoding)["kind"]
    return render_page("explanation.html.j2", gallery, explanation=explanation, kind=kind)


def write_explanation(workspace: Workspace, explanation: Explanation) -> Path:
    """Write the page into the workspace's folder explain/ and return its path.

    Raises:
        UserError: a prepared split is missing.
    """
    path = workspace.root / "explain" / f"{file_stem(explanation.query_id)}.html"
    settings = {"query": explanation.query_id, "split": explanation.split, "damping": explanation.damping}
    page = render_explanation(workspace, explanation)
    write_page(path, page, "influence explain", settings, workspace.root, [workspace])
    return path


def file_stem(example_id: str) -> str:
    """A file name for an id that may hold anything: its harmless characters, and a hash to tell ids apart."""
    harmless = re.sub(r"[^A-Za-z0-9_-]+", "-", example_id)[:60].strip("-")
    digest = hashlib.sha256(example_id.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{harmless}-{digest}" if harmless else digest
