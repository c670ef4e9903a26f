from collections.abc import Callable

from tasks.reporting.comparison import Comparison, Point, Side, render_comparison, write_comparison
from tasks.reporting.explanation import Explanation, Neighbour
from tasks.workspace import Workspace

HOSTILE = '"><img src=x onerror=alert(1)>'


def side(workspace: Workspace, name: str, harmful: str) -> Side:
    helpful = [Neighbour("00001-example", "Shirt", "Shirt", 0.0031)]
    explanation = Explanation(
        query_id="00060-example",
        split="validation",
        label="Shirt",
        predicted="Coat",
        loss=2.31,
        damping=0.0023,
        residual=0.08,
        helpful=helpful,
        harmful=[Neighbour(harmful, "Coat", "Coat", -0.0042)],
    )
    points = [Point(12.0, 0.003, True), Point(30.0, -0.004, False), Point(31.0, 0.0, False)]
    return Side(name, workspace, explanation, 0.1, 60, -0.31, 0.8, None, points)


def comparison(make_workspace: Callable[..., Workspace], name: str = "first") -> Comparison:
    first, second = (make_workspace(folder, train=60, planted=5) for folder in ("one", "two"))
    sides = (side(first, name, "00002-example"), side(second, "second", "00003-example"))
    return Comparison("00060-example", sides, 60, 0.25, 10, 1, 0)


def test_the_page_shows_both_models(make_workspace: Callable[..., Workspace]) -> None:
    page = render_comparison(comparison(make_workspace))
    assert page.count('<span class="badge">both</span>') == 2  # the helpful one, in both lists
    assert page.count("<circle") == 2 * (3 + 2)  # dots, and the legend
    assert "+3.10" in page and "−4.20" in page and "in 10⁻³ nats" in page
    assert "“first” predicts “Coat” and gives “Shirt”, the label, a probability of 10.0\u202f%" in page
    assert "1 of 10" in page and "+0.25" in page and "−0.31" in page
    assert page.count("<use href=") == 5 and "script-src 'none'" in page.replace("&#39;", "'")


def test_what_comes_from_the_data_is_escaped(make_workspace: Callable[..., Workspace]) -> None:
    found = comparison(make_workspace, HOSTILE)
    path = write_comparison(found)
    assert path.parent == found.sides[0].workspace.root / "compare"
    page = path.read_text(encoding="utf-8")
    assert "<img" not in page and "&lt;img" in page
