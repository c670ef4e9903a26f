from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting.explanation import (
    Explanation,
    Neighbour,
    file_stem,
    render_explanation,
    write_explanation,
)
from tasks.workspace import Workspace

HOSTILE = '"><img src=x onerror=alert(1)>'


def explanation(query_id: str, label: str = "Shirt", predicted: str = "Coat") -> Explanation:
    return Explanation(
        query_id=query_id,
        split="validation",
        label=label,
        predicted=predicted,
        loss=2.31,
        damping=0.0023,
        residual=0.08,
        helpful=[Neighbour("00001-example", "Shirt", "Shirt", 0.0031)],
        harmful=[Neighbour("00002-example", label, predicted, -0.00042)],
    )


def test_the_page_shows_the_query_and_its_neighbours(make_workspace: Callable[..., Workspace]) -> None:
    page = render_explanation(make_workspace(train=60, planted=5), explanation("00060-example"))
    assert "Why does the model see" in page
    assert page.count("<use href=") == page.count("<symbol id=") == 3
    assert "+0.00310 nats" in page
    assert "−4.20\u202f×\u202f10⁻⁴ nats" in page
    assert "leaving that training example out would raise the loss" in page
    assert "script-src 'none'" in page.replace("&#39;", "'")


def test_a_hostile_id_is_escaped_and_stays_inside_the_folder(
    make_workspace: Callable[..., Workspace],
) -> None:
    workspace = make_workspace(train=60, planted=5)
    for query_id in ("../../etc/passwd", "/etc/passwd", HOSTILE, "CON", ".", "a" * 5000, "\u202egnp.exe"):
        path = write_explanation(workspace, explanation(query_id, label=HOSTILE))
        assert path.parent == workspace.root / "explain"
        assert path.resolve().parent == (workspace.root / "explain").resolve()
        assert "<img" not in path.read_text(encoding="utf-8")


@given(st.text(max_size=300))
def test_a_file_name_is_harmless(example_id: str) -> None:
    stem = file_stem(example_id)
    assert Path(f"{stem}.html").name == f"{stem}.html"
    assert stem.isascii() and len(stem) <= 75
    assert set("/\\.:%~ ").isdisjoint(stem)


def test_ids_that_differ_only_in_what_is_left_out_have_files_of_their_own() -> None:
    assert len({file_stem(i) for i in ("a/b", "a.b", "a b", "a:b")}) == 4
