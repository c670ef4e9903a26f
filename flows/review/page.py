"""The page of the review, as Streamlit runs it: `streamlit run page.py -- WORKSPACE REVIEWER`."""

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import streamlit as st

from flows.review import panels
from flows.review.desk import Desk
from flows.review.filters import KINDS, STANDINGS, Filters
from flows.review.gallery import Gallery
from flows.review.live_queue import LiveQueue
from flows.review.loading import load_queue, load_training_columns
from flows.review.signatures import data_signature, flags_signature
from tasks.artifacts import read_json
from tasks.errors import UserError
from tasks.reporting.formatting import percent, visible
from tasks.reviews.queue import Item
from tasks.reviews.showing import Shown
from tasks.reviews.verdict import Answer
from tasks.workspace import Workspace

Value = TypeVar("Value", bound=str)
WATCH = 3.0  # seconds between two looks whether a run has finished
KEYS = "Type the letters on the buttons. L chooses another label, ← and → go back and on."
UNDER_WAY = "A run is under way, and what this page shows is being made again. It goes on by itself when that is done."
CHANGED = "This example has changed since the run that asks about it: `influence run` brings both together again."


def main() -> None:
    """Draw the page once: what every visit, click and key does."""
    st.set_page_config(page_title="Review", layout="wide")
    st.html(panels.style())
    st.html(panels.keys(), unsafe_allow_javascript=True)
    workspace = Workspace(Path(sys.argv[1]))
    state = st.session_state
    if "desk" not in state:
        reviewer = st.query_params.get("reviewer", "").strip() or sys.argv[2]
        state.desk, state.gallery = Desk(workspace, reviewer), Gallery(workspace)
        state.queue = state.signature = None
    try:
        queue = _newest_queue(workspace)
        if queue is not None:
            queue.refresh()
    except UserError as error:
        st.html(panels.message("The verdicts cannot be read.", str(error), "alarm"))
        return
    _watch(workspace, state.signature)
    if queue is None:
        st.html(panels.message("One moment.", UNDER_WAY))
        return
    desk: Desk = state.desk
    with st.sidebar:
        progress = st.container()
        _filters(desk, queue)
        st.caption(KEYS)
    desk.read(queue.items)
    with progress:
        _progress(desk, queue)
    _notices()
    if desk.current is None:
        _nothing_left(desk, queue)
    else:
        _question(desk, desk.current)


def _newest_queue(workspace: Workspace) -> LiveQueue | None:
    """The queue of the last run; while a new one is being made, the one before; None where there is neither."""
    state = st.session_state
    signature = flags_signature(workspace)
    if signature is None or signature == state.signature:
        return state.queue
    try:
        queue = load_queue(str(workspace.root), signature)
    except UserError:
        return state.queue
    if state.queue is not None and state.queue.run != queue.run:
        state.desk.restart()
        state.notice = ("A run has finished.", f"It asks {len(queue.items):,} questions, which are shown now.")
    state.queue, state.signature = queue, signature
    return queue


@st.fragment(run_every=WATCH)
def _watch(workspace: Workspace, signature: object) -> None:
    """Draw the page again as soon as there are new flags."""
    now = flags_signature(workspace)
    if now is not None and now != signature:
        st.rerun()


def _filters(desk: Desk, queue: LiveQueue) -> None:
    st.text_input("Reviewer", value=desk.reviewer, key="reviewer", on_change=_rename)
    choices = queue.choices
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


def distinct(names: Sequence[str]) -> list[str]:
    """Names without control characters, each unlike the others: Streamlit tells options apart by what is shown."""
    found: dict[str, None] = {}
    for name in names:
        shown, times = visible(name), 1
        while shown in found:
            times += 1
            shown = f"{visible(name)} ({times})"
        found[shown] = None
    return list(found)


def _rename() -> None:
    """Another reviewer sits down: with nothing said yet in their session."""
    name = st.session_state.reviewer.strip()
    if name:
        st.session_state.desk = Desk(st.session_state.desk.workspace, name)
        st.query_params["reviewer"] = name


def _progress(desk: Desk, queue: LiveQueue) -> None:
    settled = sum(item.state == "settled" for item in desk.items)
    facts = [("by you, in this session", f"{len(desk.given):,}")]
    if desk.pace is not None:
        facts.append(("seconds an example", f"{desk.pace:.1f}"))
        minutes = desk.pace * desk.shown / 60
        facts.append(("left at this pace", f"{minutes:.0f} min" if minutes >= 1 else "under a minute"))
    contested = sum(item.state == "contested" for item in desk.items)
    if contested:
        facts.append(("contested", f"{contested:,}"))
    if queue.agreement.share is not None:
        facts.append(("reviewers agree", f"{percent(queue.agreement.share)} of {queue.agreement.examples:,}"))
    st.html(panels.progress(settled, len(desk.items), facts))


def _notices() -> None:
    for name, tone in (("problem", "alarm"), ("notice", "calm")):
        found = st.session_state.pop(name, None)
        if found is not None:
            title, text = found
            st.html(panels.message(title, text, tone))


def _nothing_left(desk: Desk, queue: LiveQueue) -> None:
    if not queue.items:
        title, text = "This run asks nothing.", "No example was flagged: flag.inspect in params.yaml says how many are."
    elif desk.filters == Filters():
        title = "Nothing is open for you any more."
        text = "`influence run` learns from the verdicts and asks again. “Settled by others only” is for a second look."
    else:
        title, text = "No question passes these filters.", "Choose others at the left."
    st.html(panels.message(title, text))
    with st.bottom:
        _undo(desk)


def _question(desk: Desk, item: Item) -> None:
    gallery: Gallery = st.session_state.gallery
    try:
        known = gallery.show(desk.ahead(Gallery.AHEAD))
        classes = read_json(desk.workspace.encoding)["classes"]
    except UserError:
        st.html(panels.message("One moment.", UNDER_WAY))
        return
    blind = desk.filters.standing == "second"
    st.html(panels.heading(item, desk.position, desk.shown, not blind))
    shown = known.get(item.example_id)
    current = shown is not None and shown.content == item.content
    if shown is None or not current:
        st.html(panels.message("Not to be judged now.", CHANGED, "alarm"))
    else:
        left, right = st.columns([1.15, 1], gap="large")
        left.html(panels.example(shown, _remarks(desk.workspace, shown)))
        right.html(panels.evidence(item, shown, known))
    with st.bottom:
        _answers(desk, item, [name for name in classes if name != item.given_label], current)
    with contextlib.suppress(UserError):  # which is told when the example is to be shown
        gallery.look_ahead(desk.ahead(Gallery.AHEAD))


def _remarks(workspace: Workspace, shown: Shown) -> dict[str, str]:
    signature = data_signature(workspace)
    if shown.row is None or signature is None:
        return {}
    return load_training_columns(str(workspace.root), signature).remarks(shown.row)


def _answers(desk: Desk, item: Item, classes: list[str], current: bool) -> None:
    """The keys. Their names change with every step, so that a key pressed twice cannot judge an unseen example."""
    keep, relabel, label, drop, unsure, undo, back, on = st.columns([1, 1.1, 1.5, 1, 1.1, 1, 0.9, 0.9])
    names = distinct(classes)
    name = label.selectbox(
        "Relabel to",
        names,
        index=classes.index(item.suggested_label) if item.suggested_label in classes else None,
        placeholder="Another label (L)",
        key=f"press-l-{desk.step}",
        label_visibility="collapsed",
        disabled=not current,
    )
    chosen = None if name is None else classes[names.index(name)]

    def answer(place: st.delta_generator.DeltaGenerator, word: str, key: str, what: Answer, possible: bool) -> None:
        place.button(
            f"{word} `{key.upper()}`",
            key=f"press-{key}-{desk.step}",
            type="primary" if what == "relabel" else "secondary",
            disabled=not possible,
            on_click=_judge,
            args=(desk, item, what, chosen if what == "relabel" else None),
            width="stretch",
        )

    answer(keep, "Keep", "k", "keep", current)
    answer(relabel, "Relabel", "r", "relabel", current and chosen is not None)
    answer(drop, "Drop", "d", "drop", current)
    answer(unsure, "Unsure", "u", "unsure", current)
    with undo:
        _undo(desk)
    for place, word, key, steps in ((back, "←", "p", -1), (on, "→", "n", 1)):
        step = f"press-{key}-{desk.step}"
        place.button(f"{word} `{key.upper()}`", key=step, on_click=desk.move, args=(steps,), width="stretch")


def _undo(desk: Desk) -> None:
    step = f"press-z-{desk.step}"
    st.button("Undo `Z`", key=step, disabled=not desk.given, on_click=_take_back, args=(desk,), width="stretch")


def _judge(desk: Desk, item: Item, answer: Answer, new_label: str | None) -> None:
    _try(lambda: desk.judge(item, answer, new_label))


def _take_back(desk: Desk) -> None:
    _try(desk.undo)


def _try(act: Callable[[], None]) -> None:
    try:
        act()
    except (UserError, OSError) as error:
        st.session_state.problem = ("This verdict was not written.", str(error))


if __name__ == "__main__":
    main()
