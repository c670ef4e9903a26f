"""The parts of the page that show data, as HTML: jinja2 escapes every value, and nothing is loaded."""

from collections.abc import Mapping

from flows.review.filters import KINDS, counted_verdicts
from tasks.reporting import formatting, templating
from tasks.reviews.queue import Item
from tasks.reviews.showing import Shown
from tasks.reviews.verdict import Verdict

REASON_LIMIT = 1_000  # characters
SNIPPET_LIMIT = 320  # characters of a text shown as evidence
DIFFERENCES = 6  # fields of a row shown as evidence
PACKAGE = "flows.review"


def heading(item: Item, step: int, position: int, shown: int, with_verdicts: bool) -> str:
    """What is asked: labels, reason, and, if wished, what was said so far. `step` ties it to its buttons."""
    return _render(
        "heading.html.j2",
        item=item,
        step=step,
        kind=KINDS[item.kind],
        place=f"{position + 1:,} of {shown:,}",
        reason=item.reason[:REASON_LIMIT],
        said=[f"{said.reviewer}: {in_words(said)}" for said in counted_verdicts(item)] if with_verdicts else [],
    )


def example(shown: Shown, remarks: Mapping[str, str]) -> str:
    """One example, large.

    Args:
        shown: the example.
        remarks: what is unusual about its values, by column.
    """
    return _render("example.html.j2", shown=shown, exhibit=shown.exhibit, remarks=remarks)


def evidence(item: Item, shown: Shown, known: Mapping[str, Shown]) -> str:
    """The example that it repeats, and the training examples against and for its label, as far as they are known."""
    groups = [
        (f"Against “{formatting.name(item.label)}”", item.evidence_against),
        (f"For “{formatting.name(item.label)}”", item.evidence_for),
    ]
    return _render(
        "evidence.html.j2",
        item=item,
        groups=[(title, [known[name] for name in names if name in known]) for title, names in groups],
        other=known.get(item.other_id or ""),
        snippet=snippet,
        differences=lambda other: differences(shown, other),
    )


def message(title: str, text: str, tone: str = "calm", step: int | None = None) -> str:
    """One sentence above an example, or instead of it and then with its step; `tone` is calm or alarm."""
    return _render("message.html.j2", title=title, text=text, tone=tone, step=step)


def progress(judged: int, asked: int, facts: list[tuple[str, str]]) -> str:
    """How far the queue is answered, and facts of this session by name."""
    return _render("progress.html.j2", judged=judged, asked=asked, facts=facts)


def style() -> str:
    """The style sheet of all parts."""
    return f"<style>{templating.source(PACKAGE, 'page.css')}</style>"


def keys() -> str:
    """The script that presses the buttons whose key is typed. It holds nothing from the data."""
    return f"<script>{templating.source(PACKAGE, 'keys.js')}</script>"


def in_words(verdict: Verdict) -> str:
    """keep, drop, unsure, or to which label."""
    return f"relabel to {formatting.name(verdict.new_label)}" if verdict.new_label else verdict.verdict


def snippet(other: Shown) -> str:
    """The beginning of another example's text."""
    text = " ".join(other.exhibit.text[: 4 * SNIPPET_LIMIT].split())
    return text if len(text) <= SNIPPET_LIMIT else text[: SNIPPET_LIMIT - 1] + "…"


def differences(shown: Shown, other: Shown) -> tuple[list[tuple[str, str]], int]:
    """The fields of another row that differ from this one's, with their values there; and how many more there are."""
    own = dict(shown.exhibit.fields)
    found = [(name, value) for name, value in other.exhibit.fields if own.get(name) != value]
    return found[:DIFFERENCES], max(0, len(found) - DIFFERENCES)


def _render(template: str, **values: object) -> str:
    return templating.environment(PACKAGE).get_template(template).render(**values)
