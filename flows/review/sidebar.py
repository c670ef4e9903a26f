"""At the side of the page: how far the review is, and which questions to show."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import streamlit as st

from flows.review import panels
from flows.review.desk import Desk
from flows.review.filters import KINDS, STANDINGS, Choices, Filters
from flows.review.options import distinct
from tasks.reporting.formatting import percent
from tasks.reviews.settling import Agreement

Value = TypeVar("Value", bound=str)


def filters(desk: Desk, choices: Choices) -> None:
    st.text_input("Reviewer", value=desk.reviewer, key="reviewer", on_change=_rename)
    standing = st.selectbox("Show", list(STANDINGS), format_func=STANDINGS.__getitem__, key="standing")
    kind = _choose("Kind", choices.kinds, "kind", lambda kind: KINDS[kind])
    given = _choose("Given label", choices.given, "given")
    suggested = _choose("Suggested label", choices.suggested, "suggested")
    slices = {}
    for place, (column, values) in enumerate(choices.slices.items()):
        value = _choose(f"Slice {place + 1}", values, f"slice-{place}", every=f"Any {column}")
        if value is not None:
            slices[column] = value
    desk.filter(Filters(standing, kind, given, suggested, slices))


def _choose(
    title: str, counts: Mapping[Value, int], key: str, words: Callable[[Value], str] = str, every: str = "Any"
) -> Value | None:
    """One of several values, or None for all of them; hidden where there is nothing to choose."""
    if len(counts) < 2:
        return None
    names = distinct([every, *(f"{words(value)} · {count:,}" for value, count in counts.items())])
    chosen = st.selectbox(title, names, key=key)
    return dict(zip(names[1:], counts, strict=True)).get(chosen)


def _rename() -> None:
    """Another reviewer sits down: with nothing said yet in their session."""
    name = st.session_state.reviewer.strip()
    if name:
        st.session_state.desk = Desk(st.session_state.desk.workspace, name)
        st.query_params["reviewer"] = name


def progress(desk: Desk, agreed: Agreement) -> None:
    settled = sum(item.state == "settled" for item in desk.items)
    facts = [("by you, in this session", f"{len(desk.given):,}")]
    if desk.pace is not None:
        facts.append(("seconds an example", f"{desk.pace:.1f}"))
        minutes = desk.pace * desk.shown / 60
        facts.append(("left at this pace", f"{minutes:.0f} min" if minutes >= 1 else "under a minute"))
    contested = sum(item.state == "contested" for item in desk.items)
    if contested:
        facts.append(("contested", f"{contested:,}"))
    if agreed.share is not None:
        facts.append(("reviewers agree", f"{percent(agreed.share)} of {agreed.examples:,}"))
    st.html(panels.progress(settled, len(desk.items), facts))
