"""Passwords and keys have no place in params.yaml: git, dvc.lock and the metadata of artifacts would keep them."""

import re
from collections.abc import Iterator

from tasks.errors import UserError

NAMED = re.compile(
    r"(.*[_-])?(password|passwd|pwd|secret|credentials?|(secret|access|private|api)[_-]?key|(access|auth|api)[_-]?token)",
    re.IGNORECASE,
)
HELD = {
    "a URL with a password": re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE),
    "a password": re.compile(r"\b(password|passwd|pwd)\s*=\s*[^\s;&]+", re.IGNORECASE),
    "a URL with a key": re.compile(
        r"://\S*[?&]([a-z-]*signature|sig|token|access_token|api_?key|key)=[^\s&]+", re.IGNORECASE
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "an access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
}
MOST_VALUES = 100_000


def refuse_secrets(parameters: object, file: str) -> None:
    """Look at every value, and at the names of the keys.

    Args:
        parameters: what a file holds: dicts, lists and values.
        file: its name, for the message.

    Raises:
        UserError: a value is, or looks like, a secret. The message names its key and never the value. Or there are more
            than 100,000 values, as aliases of aliases can make.
    """
    for count, (key, value) in enumerate(_values(parameters)):
        if count >= MOST_VALUES:
            raise UserError(f"{file} holds more than {MOST_VALUES:,} values: leave out the aliases that repeat them")
        if isinstance(value, str) and value and (found := _secret(key, value)):
            raise UserError(
                f"{file}: `{key}` holds {found}, which git, dvc.lock and the artifacts would keep: leave it out, and "
                "let your code read it from the environment"
            )


def masked(text: str) -> str:
    """The text of a message with what looks like a secret left out."""
    for form in HELD.values():
        text = form.sub("***", text)
    return text


def _secret(key: str, value: str) -> str | None:
    if NAMED.fullmatch(re.sub(r"\[\d+\]$", "", key).rpartition(".")[2]):
        return "a secret, by its name"
    return next((what for what, form in HELD.items() if form.search(value)), None)


def _values(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _values(inner, f"{key}.{name}" if key else str(name))
        case list():
            for place, inner in enumerate(value):
                yield from _values(inner, f"{key}[{place}]")
        case _:
            yield key, value
