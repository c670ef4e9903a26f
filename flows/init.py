"""Make a folder a workspace: the files that describe the pipeline over the user's own data, and DVC."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from flows.checks import files_read
from flows.sniff import Data, Hints, sniff
from tasks.artifacts import PACKAGE, write_text
from tasks.errors import UserError
from tasks.located import located
from tasks.object_storage.location import is_url
from tasks.parameters import load_parameters
from tasks.reviews import store
from tasks.workspace import Workspace

WRITTEN = ("params.yaml", "dvc.yaml", "prefect.yaml")
DVC_SETTINGS = {"analytics": False, "check_update": False}
DVC_IGNORED = ("__pycache__", "*.pyc")


def initialise(
    root: Path, data_path: Path | str, hints: Hints, factory: str | None = None, force: bool = False
) -> list[str]:
    """Write params.yaml, dvc.yaml, prefect.yaml, .gitignore and an empty file of verdicts; initialise DVC.

    Verdicts and a DVC folder that are there already stay as they are.

    Args:
        root: the folder that becomes the workspace.
        data_path: the user's data, a path from the current folder or a URL.
        hints: what the user says of the data.
        factory: the model; None: one that fits the data.
        force: overwrite files that are there.

    Returns:
        what was done and what to do next, a line each.

    Raises:
        UserError: a file is there already, the data is of no known kind, or `factory` is not in the workspace.
    """
    present = [name for name in WRITTEN if (root / name).exists()]
    if present and not force:
        raise UserError(f"{', '.join(present)} would be overwritten: add --force if that is meant")
    url = data_path if isinstance(data_path, str) and is_url(data_path) else None
    with located(Workspace(root), [] if url is None else [url]) as found:
        data = sniff(Path(data_path) if url is None else found.paths[0], hints)
    path = _portable(Path(data_path), root) if url is None else url
    chosen = factory or data.factory
    training = data.training if chosen == data.factory else {}
    texts = {
        "params.yaml": render(
            "params.yaml", data=data, path=path, factory=chosen, training=training, version=version(PACKAGE)
        ),
        "prefect.yaml": render("prefect.yaml"),
    }
    for name, text in texts.items():
        write_text(root / name, text)
    write_text(root / "dvc.yaml", render("dvc.yaml", project=False, own=_own_dependencies(root, path)))
    _append(root / ".gitignore", render("gitignore").splitlines())
    store.create(Workspace(root))
    _initialise_dvc(root)
    return [
        f"Found {_described(data)}; the model will be {chosen}.",
        f"Wrote {', '.join(WRITTEN)} and .gitignore. Look params.yaml over, then:",
        "  influence run",
        "  influence report",
    ]


def render(name: str, **values: Any) -> str:
    """A template of flows/templates/, filled."""
    environment = Environment(
        loader=PackageLoader("flows"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # for HTML; in YAML, `inline` quotes what needs it
    )
    environment.filters["inline"] = _inline
    return environment.get_template(f"{name}.j2").render(**values)


def _inline(value: object) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def _portable(path: Path, root: Path) -> str:
    """The path as written into params.yaml: from the workspace where it lies inside, else absolute."""
    resolved = path.resolve()
    inside = resolved.is_relative_to(root.resolve())
    return resolved.relative_to(root.resolve()).as_posix() if inside else resolved.as_posix()


def _own_dependencies(root: Path, data: str) -> dict[str, list[str]]:
    """Files of the user's, other than the data itself, that stages read: dvc.yaml must name them."""
    own: dict[str, list[str]] = {}
    for path, _, stages in files_read(root, load_parameters(root / "params.yaml")):
        shown = path if isinstance(path, str) else _portable(path, root)
        if shown != (data if is_url(data) else _portable(root / data, root)):
            for stage in stages:
                own.setdefault(stage, []).append(shown)
    return own


def _append(path: Path, lines: list[str]) -> None:
    """Add the lines that the file does not hold yet."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    known = set(before.splitlines())
    added = [line for line in lines if line not in known]
    if any(line and not line.startswith("#") for line in added):
        separator = "" if not before or before.endswith("\n") else "\n"
        write_text(path, before + separator + "\n".join(added) + "\n")


def _initialise_dvc(root: Path) -> None:
    """`dvc init` where there is none, and the settings of this project.

    Raises:
        UserError: DVC refuses.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    top = _git_top(root)
    logging.getLogger("dvc").setLevel(logging.ERROR)  # its advice is for those who start with DVC alone
    try:
        if not (root / ".dvc").is_dir():
            Repo.init(str(root), no_scm=top is None, subdir=top not in (None, root.resolve())).close()
        with Repo(str(root)) as repo, repo.config.edit("repo") as config:
            config["core"].update(DVC_SETTINGS)
            if top is not None:
                config["core"]["autostage"] = True
    except DvcException as error:
        raise UserError(f"dvc init failed in {root}: {' '.join(str(error).split())}") from None
    _append(root / ".dvcignore", list(DVC_IGNORED))


def _git_top(root: Path) -> Path | None:
    """The top folder of the git repository that holds the workspace; None outside of one."""
    for folder in (root.resolve(), *root.resolve().parents):
        if (folder / ".git").exists():
            return folder
    return None


def _described(data: Data) -> str:
    source = data.source
    kinds = {"idx": "IDX images", "image_folder": "a folder of images by class", "csv": "a CSV table"}
    found = kinds.get(source["kind"], "a Parquet table")
    if "label" not in source:
        return found
    what = next((f", {key} {source[key]}" for key in ("text", "image") if key in source), "")
    return f"{found} (label {source['label']}{what})"
