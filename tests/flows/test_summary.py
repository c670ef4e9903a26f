"""The summary of a run, from what the stages wrote."""

from pathlib import Path

from rich.console import Console

from flows.summary import as_markdown, as_table, facts_table, summarise
from tasks.artifacts import write_json
from tasks.workspace import Workspace

OUTCOMES = {"prepare": "Unchanged", "train": "Completed", "flag": "Completed", "report": "Completed"}


def workspace(root: Path) -> Workspace:
    here = Workspace(root)
    write_json(here.work / "timings/train.json", {"examples": 8000, "seconds": 4.0, "device": "cpu", "process": 1})
    write_json(here.model_metrics, {"train": {"accuracy": 0.951}, "test": {"accuracy": 0.9}})
    write_json(here.flag_metrics, {"flagged": 1400})
    write_json(here.report_metrics, {"planted": 400, "planted_flagged": 300})
    here.report.parent.mkdir(exist_ok=True)
    here.report.write_text("page")
    return here


def test_stages_and_facts(tmp_path: Path) -> None:
    here = workspace(tmp_path)
    summary = summarise(tmp_path, OUTCOMES)
    assert summary.rows[:2] == [("prepare", "Unchanged", "", "", ""), ("train", "Completed", "4.0", "2,000", "cpu")]
    assert summary.facts == [
        ("Accuracy", "train 95.1%, test 90.0%"),
        ("Flagged for review", "1,400"),
        ("Planted errors found", "300 of 400 (75%) among those flagged"),
        ("Report", str(here.report)),
    ]


def test_nothing_is_said_of_stages_that_were_not_asked_for(tmp_path: Path) -> None:
    workspace(tmp_path)
    assert [name for name, _ in summarise(tmp_path, {"train": "Completed"}).facts] == ["Accuracy"]


def test_the_verdict_on_the_scores_comes_with_its_warnings(tmp_path: Path) -> None:
    here = workspace(tmp_path)
    write_json(here.validation_metrics, {"verdict": "Trust the order.", "warnings": ["few subsets"]})
    facts = dict(summarise(tmp_path, {**OUTCOMES, "validate": "Completed"}).facts)
    assert facts["Trust"] == "Trust the order. Warning: few subsets."


def test_nothing_is_said_of_errors_where_none_were_planted(tmp_path: Path) -> None:
    write_json(workspace(tmp_path).report_metrics, {"planted": 0})
    assert "Planted errors found" not in dict(summarise(tmp_path, OUTCOMES).facts)


def test_a_stage_that_wrote_nothing_is_no_error(tmp_path: Path) -> None:
    summary = summarise(tmp_path, OUTCOMES)
    assert [row[:2] for row in summary.rows] == list(OUTCOMES.items())
    assert summary.facts == []


def test_markup_in_a_name_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    workspace(tmp_path)
    summary = summarise(tmp_path, {"[bold]a|b<script>": "Completed", **OUTCOMES})
    console = Console(width=200, record=True)
    console.print(as_table(summary))
    console.print(facts_table(summary))
    assert "[bold]a|b<script>" in console.export_text()
    markdown = as_markdown(summary)
    assert r"| \[bold\]a\|b\<script\> | Completed |" in markdown
    assert "| train | Completed | 4.0 | 2,000 | cpu |" in markdown
