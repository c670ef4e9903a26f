"""`influence status`, and the journal that a run of the flow writes for it."""

import json
import subprocess
from collections.abc import Callable

import httpx
import pytest
from toy import Toy

from flows.metrics import metric_rows
from tasks import journal
from tasks.workspace import Workspace

Influence = Callable[..., subprocess.CompletedProcess[str]]
NUMBERS = """python -c "import json, os; os.makedirs('model'); open('b', 'w'); \
json.dump({'epochs': 3, 'validation': {'loss': 0.5, 'accuracy': 0.75}}, open('model/metrics.json', 'w'))" """


def test_where_nothing_has_run_it_says_so(toy: Toy, influence: Influence) -> None:
    done = influence(toy.root, "status")
    assert done.returncode == 0 and "Nothing has run here yet" in done.stdout, done.stdout + done.stderr
    told = json.loads(influence(toy.root, "status", "--json").stdout)
    assert told["runs"] == [] and told["disk"]["free"] > 0


def with_metrics(toy: Toy) -> None:
    path = toy.root / "dvc.yaml"
    path.write_text(
        path.read_text().replace("outs: [b]", "outs: [b]\n    metrics: [model/metrics.json: {cache: false}]")
    )
    toy.command("train", NUMBERS)


def test_metrics_are_those_of_dvc(toy: Toy) -> None:
    with_metrics(toy)
    assert metric_rows(toy.root) == []
    toy.dvc("repro")
    assert {row["metric"]: row["value"] for row in metric_rows(toy.root)} == {
        "epochs": 3,
        "validation.loss": 0.5,
        "validation.accuracy": 0.75,
    }


@pytest.mark.slow
def test_the_journal_tells_of_a_run_and_prefect_shows_dvcs_metrics(
    toy: Toy, on_server: str, influence: Influence
) -> None:
    from flows.launch import launch

    with_metrics(toy)
    launch(toy.root)
    rows = json.loads(httpx.get(f"{on_server}/artifacts/influence-metrics/latest").json()["data"])
    shown = json.loads(toy.dvc("metrics", "show", "--json"))[""]["data"]["model/metrics.json"]["data"]
    assert {row["metric"]: row["value"] for row in rows} == {
        "epochs": shown["epochs"],
        **{f"validation.{name}": value for name, value in shown["validation"].items()},
    }
    (path,) = journal.logs(Workspace(toy.root).work).glob("*.jsonl")
    lines = journal.read(path)
    assert [line["event"] for line in lines] == ["run started", *["stage outcome"] * 3, "run ended"]
    assert httpx.get(f"{on_server}/flow_runs/{lines[0]['run']}").json()["name"] == lines[0]["name"]
    assert {line["stage"]: line["outcome"] for line in lines[1:-1]} == lines[-1]["outcomes"]
    toy.command("train", "echo 'train: out of paper'; exit 1")
    assert influence(toy.root, "run").returncode == 1
    done = influence(toy.root, "status")
    assert all(word in done.stdout for word in ("Completed", "Failed", "train: out of paper", "Disk")), done.stdout
    told = json.loads(influence(toy.root, "status", "--json", "--runs", "1").stdout)
    (run,) = told["runs"]
    assert (run["outcome"], run["stages"][-1]["reason"]) == ("Failed", "train: out of paper")
