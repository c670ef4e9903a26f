"""Tasks for Label Studio, and its export read back."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tasks.artifacts import read_table
from tasks.errors import UserError
from tasks.reviews import store
from tasks.reviews.exchange import label_studio
from tasks.reviews.exchange.answers import Reply, bring
from tasks.reviews.exchange.shown import load_shown
from tasks.reviews.queue import build, verdict_on
from tasks.workspace import Workspace


def annotation(control: str, *choices: str, **more: Any) -> dict[str, Any]:
    """As Label Studio exports it."""
    result = {
        "id": "Dx_aB91ISN",
        "from_name": control,
        "to_name": "example",
        "type": "choices",
        "origin": "manual",
        "value": {"choices": list(choices)},
    }
    times = {"created_at": "2026-01-02T10:00:00Z", "updated_at": "2026-01-02T10:00:00Z", "lead_time": 4.2}
    return {"id": 7, "completed_by": 3, "was_cancelled": False, "result": [result], **times, **more}


def answered(path: Path, *annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The exported tasks as Label Studio would give them back, the first of them answered."""
    tasks = json.loads(path.read_text())
    padded = [*annotations, *[[] for _ in tasks[len(annotations) :]]]
    return [
        {"id": number, "project": 1, **task, "annotations": own, "drafts": []}
        for number, (task, own) in enumerate(zip(tasks, padded, strict=True), 1)
    ]


def test_a_task_shows_the_example_and_what_is_suggested(flagged: Workspace, tmp_path: Path) -> None:
    items, path = build(flagged), tmp_path / "tasks.json"
    store.append(flagged, [verdict_on(items[1], "keep", "ann")])
    assert label_studio.write(flagged, path) == len(items) - 1
    tasks = json.loads(path.read_text())
    assert [task["data"]["example_id"] for task in tasks] == [items[0].example_id, *(i.example_id for i in items[2:])]
    data, prediction = tasks[0]["data"], tasks[0]["predictions"][0]
    row = next(
        row for row in read_table(flagged.split("train")).to_pylist() if row["example_id"] == items[0].example_id
    )
    assert data["row"] == json.loads(row["display"]) and items[0].reason in data["question"]
    assert prediction["result"][0]["value"] == {"choices": [items[0].suggested_label]}
    assert prediction["score"] == pytest.approx(items[0].suggested_probability)
    config = ElementTree.fromstring(path.with_suffix(".xml").read_text())
    names = {element.get("name"): element for element in config if element.get("name")}
    used = prediction["result"][0]
    assert names[used["from_name"]].tag == "Choices" and names[used["to_name"]].get("value") == "$row"
    assert [choice.get("value") for choice in names["label"]] == [f"class {number}" for number in range(4)]
    assert [choice.get("value") for choice in names["otherwise"]] == ["drop", "unsure"]


def test_an_image_is_its_pixels_in_the_task(make_prepared: Callable[..., Workspace], tmp_path: Path) -> None:
    workspace = make_prepared(tmp_path, count=9, held_out=3, shape=(3, 8, 6))
    table = read_table(workspace.split("train"))
    name = table["example_id"][4].as_py()
    shown = load_shown(workspace, [name])[name]
    assert shown.display is None and shown.picture is not None
    kind, _, content = shown.picture.partition(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert (pixels == table["input"][4].to_numpy().transpose(1, 2, 0)).all()
    view = ElementTree.fromstring(label_studio.configuration("image", ["a"]))
    assert view.find("Image").attrib["value"] == "$image"  # type: ignore[union-attr]


def test_an_export_becomes_verdicts_once(flagged: Workspace, tmp_path: Path) -> None:
    items, path = build(flagged), tmp_path / "tasks.json"
    label_studio.write(flagged, path)
    other = next(f"class {n}" for n in range(4) if f"class {n}" not in (items[1].given_label, items[1].suggested_label))
    export = tmp_path / "export.json"
    tasks = answered(
        path,
        [annotation("label", items[0].given_label)],
        [annotation("label", other, completed_by={"id": 4, "email": "bob@example.org"})],
        [annotation("otherwise", "drop"), annotation("otherwise", "unsure", completed_by=5)],
        [annotation("label", "class 0", was_cancelled=True)],
        [annotation("label")],
    )
    export.write_text(json.dumps(tasks))
    assert bring(flagged, export, label_studio.read(export), None) == 4
    given = [(said.example_id, said.verdict, said.new_label, said.reviewer) for said in store.read(flagged)]
    assert given == [
        (items[0].example_id, "keep", None, "user 3"),
        (items[1].example_id, "relabel", other, "bob@example.org"),
        (items[2].example_id, "drop", None, "user 3"),
        (items[2].example_id, "unsure", None, "user 5"),
    ]
    assert bring(flagged, export, label_studio.read(export), None) == 0
    # Whoever changed their mind since is not overruled by the same file, only by a later answer.
    store.append(flagged, [verdict_on(items[0], "drop", "user 3")])
    assert bring(flagged, export, label_studio.read(export), None) == 0
    tasks[0]["annotations"][0]["updated_at"] = "2999-01-01T00:00:00.5Z"
    export.write_text(json.dumps(tasks))
    assert bring(flagged, export, label_studio.read(export), None) == 1
    assert store.read(flagged)[-1].time.isoformat() == "2999-01-01T00:00:00.500000+00:00"


def test_classes_called_like_other_choices_are_classes(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    own = annotation("label", "drop", completed_by=None, updated_at="yesterday")
    path.write_text(json.dumps([{"data": {"example_id": "a"}, "annotations": [own]}]))
    assert label_studio.read(path) == [Reply("task 1", "a", "relabel", "drop")]


def test_hostile_names_stay_names() -> None:
    hostile = ['<script>"&', "a'b", "é\u202e", "{{x}}"]
    view = ElementTree.fromstring(label_studio.configuration("text", hostile))
    assert [choice.get("value") for choice in view.findall("Choices")[0]] == hostile
    with pytest.raises(UserError, match=r"'a\\x00' has a character.*export CSV"):
        label_studio.configuration("text", ["a\x00"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": 1}', "is not a list of tasks"),
        ("[1]", r"task 1: no data\.example_id"),
        ('[{"data": {}, "annotations": []}]', r"task 1: no data\.example_id"),
        ('[{"data": {"example_id": "a"}}]', r"task 1: no data\.example_id or no annotations"),
    ],
)
def test_what_is_no_such_export_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "export.json"
    with pytest.raises(UserError, match="is missing"):
        label_studio.read(path)
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        label_studio.read(path)


def test_two_answers_in_one_are_none(tmp_path: Path) -> None:
    both = annotation("label", "class 1")
    both["result"] += annotation("otherwise", "drop")["result"]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([{"data": {"example_id": "a"}, "annotations": [both]}]))
    with pytest.raises(UserError, match=r"task 1: more than one answer \('class 1', 'drop'\)"):
        label_studio.read(path)
