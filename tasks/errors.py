"""Errors a user can mend."""

import re

LONGEST = 1000  # characters of a sentence; a file with many columns could fill the screen with their names


class UserError(Exception):
    """Bad input: one sentence that says what is wrong, where, and how to mend it. Shown without a traceback.

    It may quote the data, which are hostile: it is always one printable line, and nothing in it commands a terminal.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def printable(text: str, longest: int = LONGEST) -> str:
    """The text on one line, what cannot be printed escaped, and what is too long shortened in its middle."""
    if len(text) > longest:
        text = f"{text[: longest * 2 // 3]} ... {text[-longest // 4 :]}"
    line = re.sub(r"\s*[\r\n]+\s*", " ", text)
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
