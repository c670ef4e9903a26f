from pathlib import Path

from tasks.figures import panels, save


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        figure, axes = panels(rows=1, columns=2)
        for axis in axes:
            axis.plot([0, 1], [1, 0], label="a line")
            axis.legend()
        save(figure, tmp_path / name)
    for suffix in (".svg", ".png"):
        one, two = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("one", "two"))
        assert one == two and len(one) > 1000
    assert len(axes) == 2
