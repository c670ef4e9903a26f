"""What a sentence may hold."""

import pytest

from tasks.errors import LONGEST, UserError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain, ä and 中", "plain, ä and 中"),
        ("two\n  lines\r\nor three", "two lines or three"),
        ("\x1b[2Jclears", "\\x1b[2Jclears"),
        ("turns \u202e round", "turns \\u202e round"),
        ("no text \udcff", "no text \\udcff"),
    ],
)
def test_one_printable_line(said: str, shown: str) -> None:
    assert str(UserError(said)) == shown


def test_a_long_one_keeps_its_beginning_and_its_end() -> None:
    shown = str(UserError("begin " + "x" * 10**6 + " end"))
    assert len(shown) <= LONGEST and shown.startswith("begin x") and shown.endswith("x end") and " ... " in shown
