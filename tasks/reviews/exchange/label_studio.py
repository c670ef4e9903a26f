"""The queue as tasks of Label Studio, and the answers from its export (both in its JSON format).

https://labelstud.io/guide/task_format describes the format: a task has `data`, `predictions` and, once somebody has
answered, `annotations`, each with a `result` for every control of the labelling configuration.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tasks.artifacts import read_json, write_text
from tasks.errors import UserError
from tasks.reviews.exchange.answers import Reply
from tasks.reviews.exchange.shown import Shown, load_shown
from tasks.reviews.queue import Item, build
from tasks.workspace import Workspace

LABEL, OTHERWISE, EXAMPLE = "label", "otherwise", "example"  # names of the controls and of what they are about
OTHER_CHOICES = ("drop", "unsure")
TAGS = {"image": ("Image", "image"), "table": ("Table", "row"), "text": ("Text", "text")}
WIDTH = {"image": {"maxWidth": "420px"}}  # so that the choices are seen without scrolling
TEXT_LIMIT = 100_000  # characters; it holds every task in memory
NOT_IN_XML = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")


def write(workspace: Workspace, path: Path) -> int:
    """Write a task for every question that is not settled, and the labelling configuration beside them (PATH.xml).

    Returns:
        how many tasks.

    Raises:
        UserError: there are no flags yet, or a class has a name that XML cannot hold.
    """
    encoding = read_json(workspace.encoding)
    config = configuration(encoding["kind"], encoding["classes"])
    items = [item for item in build(workspace) if item.state != "settled"]
    shown = load_shown(workspace, {item.example_id for item in items})
    tasks = [_task(item, shown[item.example_id], encoding["kind"]) for item in items]
    write_text(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    write_text(path.with_suffix(".xml"), config)
    return len(tasks)


def configuration(kind: str, classes: Sequence[str]) -> str:
    """The labelling configuration: what is shown, a choice of the right label, and a choice to drop or to pass.

    Raises:
        UserError: a class has a name that XML cannot hold.
    """
    for label in classes:
        if NOT_IN_XML.search(label):
            raise UserError(f"the class {label!r} has a character that Label Studio's XML cannot hold: export CSV")
    tag, value = TAGS[kind]
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="$question")
    ElementTree.SubElement(view, tag, WIDTH.get(kind, {}), name=EXAMPLE, value=f"${value}")
    for name, title, choices in (
        (LABEL, "The right label", classes),
        (OTHERWISE, "Or: take it out of the data, or leave it to others", OTHER_CHOICES),
    ):
        ElementTree.SubElement(view, "Header", value=title, size="5")
        control = ElementTree.SubElement(view, "Choices", name=name, toName=EXAMPLE, choice="single", showInline="true")
        for choice in choices:
            ElementTree.SubElement(control, "Choice", value=choice)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def read(path: Path) -> list[Reply]:
    """The answers of an export in Label Studio's JSON format; skipped tasks hold none.

    A reviewer is named by the e-mail of `completed_by`, or where the export has numbers, by `user NUMBER`.

    Raises:
        UserError: the file is no such export.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): export from Label Studio as JSON") from None
    if not isinstance(tasks, list):
        raise UserError(f"{path} is not a list of tasks: export from Label Studio as JSON, not JSON-MIN")
    return [reply for number, task in enumerate(tasks, 1) for reply in _replies(path, f"task {number}", task)]


def _task(item: Item, shown: Shown, kind: str) -> dict[str, Any]:
    data = {
        "example_id": item.example_id,
        "question": f"Given label: {item.given_label}. {item.reason}",
        "given_label": item.given_label,
        "suggested_label": item.suggested_label,
        "error_probability": item.error_probability,
        "kind": item.kind,
        "content": item.content,
        "run": item.run,
        TAGS[kind][1]: _value(shown, kind),
    }
    suggested = {
        "from_name": LABEL,
        "to_name": EXAMPLE,
        "type": "choices",
        "value": {"choices": [item.suggested_label]},
    }
    prediction = {"model_version": item.run, "score": item.suggested_probability, "result": [suggested]}
    return {"data": data, "predictions": [prediction] if item.suggested_label is not None else []}


def _value(shown: Shown, kind: str) -> object:
    if shown.display is None:
        return shown.picture
    return json.loads(shown.display) if kind == "table" else shown.display[:TEXT_LIMIT]


def _replies(path: Path, where: str, task: Any) -> Iterator[Reply]:
    """One for each annotation of a task.

    Raises:
        UserError: it is not a task of this project, or an annotation is no answer.
    """
    data = task.get("data") if isinstance(task, dict) else None
    annotations = task.get("annotations") if isinstance(task, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("example_id"), str) or not isinstance(annotations, list):
        raise UserError(
            f"{path}, {where}: no data.example_id or no annotations: export from Label Studio as JSON the tasks that "
            "`influence verdicts export` wrote"
        )
    for annotation in annotations:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        chosen = list(_chosen(annotation.get("result")))
        if not chosen:
            continue
        if len(chosen) > 1:
            names = ", ".join(repr(choice) for _, choice in chosen)
            raise UserError(f"{path}, {where}: more than one answer ({names}): choose one label, or drop, or unsure")
        [(control, choice)] = chosen
        is_label = control == LABEL
        yield Reply(
            where=where,
            example_id=data["example_id"],
            verdict="relabel" if is_label else choice,
            new_label=choice if is_label else None,
            reviewer=_reviewer(annotation.get("completed_by")),
            content=_text(data.get("content")),
            given_label=_text(data.get("given_label")),
            time=_time(annotation.get("updated_at")),
        )


def _chosen(results: Any) -> Iterator[tuple[str, str]]:
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, dict) else None
        choices = value.get("choices") if isinstance(value, dict) else None
        for choice in choices if isinstance(choices, list) else []:
            yield str(result.get("from_name")), str(choice)


def _reviewer(completed_by: Any) -> str | None:
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return f"user {completed_by}" if isinstance(completed_by, int) else _text(completed_by)


def _time(value: Any) -> datetime | None:
    """Label Studio writes ISO 8601 in UTC."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
