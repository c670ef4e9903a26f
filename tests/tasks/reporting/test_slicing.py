from pathlib import Path

from tasks.reporting.slicing import Influence, Part, Slice, Slices, findings, write_slices_page
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
    assert page.count("harms strong") == 2 and "−2.00" in page and "in 10⁻¹ nats" in page and "+4.00" in page
    assert found.strongest(0, -1) is None


def test_the_slice_that_is_read_worst_is_named_only_beyond_chance() -> None:
    good, bad = Part(100, 10, 0.055, 0.174, 0.3), Part(100, 40, 0.31, 0.50, 0.9)
    unsure = Part(3, 2, 0.21, 0.94, 1.2)  # the highest rate, of three examples
    slices = [Slice("many", good, good, 1), Slice("few", good, bad, 1), Slice("three", good, unsure, 1)]
    influences = [Influence(0, 1, -0.5, -0.005), Influence(1, 1, 0.5, 0.005), Influence(2, 1, -0.6, -0.2)]
    found = Slices("town", "test", slices, influences, 0.01, 0.05)
    assert findings(found) == (
        "“few” is read worst, and harmed most by training examples of “three”: "
        "40.0\u202f% (31\u202f% to 50\u202f%) of its examples are errors, "
        "10.0\u202f% (6\u202f% to 17\u202f%) of “many”."
    )
    overlapping = Slices("town", "test", [slices[0], slices[0]], [], 0.01, 0.05)
    assert findings(overlapping).startswith("No slice is read worse than another beyond chance")
