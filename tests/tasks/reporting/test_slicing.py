from pathlib import Path

from tasks.reporting.slicing import Influence, Part, Slice, Slices, write_slices_page
from tasks.workspace import Workspace

HOSTILE = '"><img src=x onerror=alert(1)>'


def test_the_page_has_a_cell_for_every_pair_and_escapes_names(tmp_path: Path) -> None:
    part = Part(examples=40, errors=10, low=0.14, high=0.40, mean_loss=0.5)
    found = Slices(
        column=HOSTILE,
        split="test",
        slices=[Slice(HOSTILE, part, part, 3), Slice("only trained", part, None, None), Slice("new", None, part, None)],
        influences=[
            Influence(0, 0, 0.4, 0.01),
            Influence(0, 2, -0.8, -0.02),
            Influence(1, 0, 0.0, 0.0),
            Influence(1, 2, 0.2, 0.005),
        ],
        damping=0.01,
        residual=0.05,
    )
    path = write_slices_page(Workspace(tmp_path), found)
    assert path == tmp_path / "slices/index.html"
    page = path.read_text(encoding="utf-8")
    assert "<img" not in page and "&lt;img" in page
    assert "25.0\u202f%" in page and "14\u202f% to 40\u202f%" in page
    assert page.count('<td class="number helps') + page.count('<td class="number harms') == 2 * 4
    assert page.count("harms strong") == 2 and "−2.00" in page and "+0.40" in page
    assert found.strongest(0, -1) is None
