import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tasks.artifacts import write_json
from tasks.errors import UserError
from tasks.parameters import load_parameters
from tasks.report import run
from tasks.reporting.baselines import DETECTORS
from tasks.reviews import queue, store
from tasks.workspace import Workspace

MakeWorkspace = Callable[..., Workspace]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "{{ 7 * 7 }}${7*7}",
    "' onmouseover='alert(3)",
    "\u202etxet desrever\u202c",
    "a\x00b\x1b[31mc",
]


def report(workspace: Workspace) -> tuple[str, dict[str, Any]]:
    run(workspace, load_parameters(workspace.parameters))
    return workspace.report.read_text(encoding="utf-8"), json.loads(workspace.report_metrics.read_text())


def rows_of(page: str) -> list[list[Any]]:
    block = re.search(r'<script type="application/json" id="flag-rows">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    return json.loads(block[1])["rows"]  # type: ignore[no-any-return]


def attribute_names(page: str) -> set[str]:
    names: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names.update(name for name, _ in attrs)

    Parser().feed(page)
    return names


def test_a_report_of_images(make_workspace: MakeWorkspace) -> None:
    page, metrics = report(make_workspace())
    assert f"Review these 30 labels: about {metrics['expected_errors']:.0f} are expected to be wrong." in page
    assert "<code>influence review</code>" in page and "Of its first 15, about 1" in page and "Where to stop" in page
    assert page.count('<article class="card" id="flag-') == 30
    assert (
        page.count("<symbol id=")
        == page.count("data:image/png;base64,")
        == len(set(re.findall(r"data:image[^\"]+", page)))
    )
    assert metrics["flagged"] == metrics["planted"] == 30
    assert metrics["flags"]["recall_5"] > 0.5 > metrics["random"]["recall_5"] == pytest.approx(0.05)
    assert set(metrics) > {"loss", "margin", "mean_margin", "self_influence", "neighbours", "random"}
    assert set(metrics["loss"]) > {"recall_1", "recall_30", "auroc", "average_precision"}


@pytest.mark.parametrize(("trusted", "said"), [(True, "were taken to be right"), (False, "look as wrong as those of")])
def test_it_is_said_whether_validation_labels_could_be_leant_on(
    make_workspace: MakeWorkspace, trusted: bool, said: str
) -> None:
    page, _ = report(make_workspace(train=100, held_out=20, planted=4, flagged=5, validation_trusted=trusted))
    assert f"The labels of the validation set {said}" in page


def test_the_recall_curve_has_a_column_for_each_signal_and_a_row_for_each_percentage(
    make_workspace: MakeWorkspace,
) -> None:
    workspace = make_workspace()
    _, metrics = report(workspace)
    with workspace.recall_curve.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["inspected"] for row in rows] == [str(percent) for percent in range(1, 31)]
    assert float(rows[9]["flags"]) == metrics["flags"]["recall_10"]
    assert float(rows[29]["random"]) == pytest.approx(0.3)


def test_the_page_loads_nothing(make_workspace: MakeWorkspace) -> None:
    page, _ = report(make_workspace())
    assert not re.search(r"https?://", page)
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "default-src &#39;none&#39;" in page
    assert "unsafe" not in page


def test_without_planted_errors_the_truth_is_not_guessed(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(planted=0)
    page, metrics = report(workspace)
    assert "No errors were planted in this run" in page
    assert set(metrics) == {
        "training_examples",
        "flagged",
        "judged",
        "expected_errors",
        "expected_precision",
        "drift",
        "planted",
    }
    assert "What simpler signals would list" in page and "Shared with this list" in page
    assert workspace.recall_curve.read_text() == f"inspected,flags,{','.join(DETECTORS)},random\n"


def test_other_findings_are_shown_by_kind_with_their_number(make_workspace: MakeWorkspace) -> None:
    page, _ = report(make_workspace(classes=["<b>", "plain"]))
    section = page[page.index('<section id="findings">') : page.index('<section id="detection">')]
    assert section.count("not the same label") == 8 and "The first 8 of 10." in section
    assert "Classes with many flags" in section and "&lt;b&gt;" in section and "<b>" not in section
    assert '<section id="findings">' not in report(make_workspace(findings=0))[0]


def test_a_signal_that_was_not_computed_is_not_scored(make_workspace: MakeWorkspace) -> None:
    page, metrics = report(make_workspace(no_folds=True))
    assert "confident_learning" not in metrics and "error_model" in metrics
    assert "Cleanlab" not in page


def test_a_model_that_was_given_has_no_loss_curve(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(parameters={"train": {"checkpoint": "mine/<b>.safetensors"}})
    workspace.loss_curve.unlink()
    page, _ = report(workspace)
    assert "weights from <bdi><code>mine/&lt;b&gt;.safetensors</code></bdi>" in page
    assert "Loss by epoch" not in page


def test_the_verdict_on_the_scores_is_there_with_its_warnings(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace()
    page, _ = report(workspace)
    assert "LDS 0.48 ± 0.03 over 20 queries; &lt;b&gt;ceiling&lt;/b&gt; 0.62." in page
    assert "The scores are not measurably better than the gradient product." in page
    assert '<td class="number">0.45 to 0.51</td>' in page and '<th scope="row">Ceiling</th>' in page
    write_json(workspace.validation_metrics, {"verdict": "Not measured: x.", "warnings": [], "queries": 20})
    page, _ = report(workspace)
    assert "Not measured: x." in page and "Agreement with retraining" not in page


def test_a_report_without_a_flag(make_workspace: MakeWorkspace) -> None:
    page, metrics = report(make_workspace(flagged=0))
    assert "None of 600 training labels looks wrong." in page
    assert metrics["flagged"] == 0
    assert rows_of(page) == []


def test_the_headline_follows_the_review(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(flagged=1)
    assert "Review this label: it is wrong with a probability of 9" in report(workspace)[0]
    store.append(workspace, [queue.verdict_on(queue.build(workspace)[0], "keep", "ann")])
    page, metrics = report(workspace)
    assert "Every flagged label has been reviewed." in page
    assert (metrics["judged"], metrics["expected_errors"]) == (1, 0)


@pytest.mark.parametrize("kind", ["text", "table"])
def test_every_value_from_the_data_is_escaped(make_workspace: MakeWorkspace, kind: str) -> None:
    labels = [*HOSTILE[:4], "plain"]
    page, _ = report(
        make_workspace(
            kind=kind,
            train=200,
            flagged=200,
            classes=labels,
            texts=HOSTILE * 25,
            ids=[f"{i}{text}" for i in range(25) for text in HOSTILE],
            slices={'<b onclick="x">': HOSTILE},
            parameters={"report": {"title": HOSTILE[0]}},
        )
    )
    assert page.count("<script") == page.count("</script>") == 2  # the rows and the page's own
    assert "<img" not in page and "<b " not in page and "<!--" not in page
    assert not [name for name in attribute_names(page) if name.startswith("on") or name == "style"]
    assert "\x00" not in page and "\x1b" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "49" not in re.findall(r"\{\{ (\d+) \}\}", page)
    assert {row[2] for row in rows_of(page)} == set(labels)


def test_a_huge_text_does_not_reach_the_page_whole(make_workspace: MakeWorkspace) -> None:
    page, _ = report(make_workspace(kind="text", train=60, planted=5, flagged=60, texts=["word " * 2_000_000]))
    assert len(page) < 500_000
    assert "9,998,000 further characters are not on this page" in page


def test_pictures_are_limited_and_the_table_still_holds_every_flag(make_workspace: MakeWorkspace) -> None:
    page, _ = report(make_workspace(flagged=50, parameters={"report": {"pictures": 7}}))
    assert page.count('<article class="card" id="flag-') == 7
    assert "The 7 most suspect of 50" in page
    assert [row[0] for row in rows_of(page)] == list(range(1, 51))


def test_two_hundred_flags_with_their_evidence_stay_small(make_workspace: MakeWorkspace) -> None:
    page, _ = report(make_workspace(train=2500, planted=125, flagged=250))
    assert page.count('<article class="card" id="flag-') == 200
    assert len(page) < 5_000_000


def test_photos_become_thumbnails(make_workspace: MakeWorkspace) -> None:
    page, _ = report(make_workspace(train=60, planted=5, flagged=10, image_size=224))
    assert "data:image/jpeg" in page and "data:image/png" not in page
    assert max(map(len, re.findall(r"data:image[^\"]+", page))) < 16_000


def test_the_same_artifacts_give_the_same_bytes(make_workspace: MakeWorkspace) -> None:
    first, second = make_workspace("first"), make_workspace("second")
    report(first)
    report(second)
    for path in ("report/index.html", "report/metrics.json", "report/recall.csv"):
        assert (first.root / path).read_bytes() == (second.root / path).read_bytes()


def test_a_missing_artifact_says_what_to_run(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace(train=60, planted=5)
    workspace.signals.unlink()
    with pytest.raises(UserError, match=r"signals\.parquet is missing: run its stage"):
        report(workspace)
    assert not workspace.report.exists()


def test_an_error_that_a_verdict_mended_is_no_longer_one_to_be_found(make_workspace: MakeWorkspace) -> None:
    workspace = make_workspace()
    _, before = report(workspace)
    truth = {
        row["example_id"]: row["true_label"] for row in pq.read_table(workspace.truth).to_pylist() if row["planted"]
    }
    mended, dropped, still_wrong = list(truth)[:3]
    train = pq.read_table(workspace.split("train"))
    wrong = {still_wrong: next(name for name in train["label"].to_pylist() if name != truth[still_wrong])}
    verdicts = {mended: truth[mended], **wrong}
    labels = [
        verdicts.get(name, label)
        for name, label in zip(train["example_id"].to_pylist(), train["label"].to_pylist(), strict=True)
    ]
    train = train.set_column(train.schema.get_field_index("label"), "label", pa.array(labels))
    pq.write_table(train.filter(pc.not_equal(train["example_id"], dropped)), workspace.split("train"))
    _, after = report(workspace)
    assert (before["planted"], after["planted"]) == (30, 28)
    assert after["planted_flagged"] == before["planted_flagged"] - 2
