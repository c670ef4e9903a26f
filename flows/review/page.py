"""The page of the review, as Streamlit runs it: `streamlit run page.py -- WORKSPACE REVIEWER`."""

import contextlib
import sys
from pathlib import Path

import streamlit as st

from flows.review import panels, sidebar
from flows.review.answers import answers, undo_button
from flows.review.desk import Desk
from flows.review.filters import Filters
from flows.review.gallery import Gallery
from flows.review.live_queue import LiveQueue
from flows.review.loading import load_queue, load_training_columns
from flows.review.signatures import Signature, data_signature, flags_signature
from tasks.artifacts import read_json
from tasks.errors import UserError
from tasks.reviews.queue import Item
from tasks.reviews.showing import Shown
from tasks.workspace import Workspace

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
    seen = flags_signature(workspace)
    _watch(workspace, seen)
    try:
        queue = _newest_queue(workspace, seen)
        if queue is not None:
            queue.refresh()
    except UserError as error:
        st.html(panels.message("The review cannot go on.", str(error), "alarm"))
        return
    if queue is None:
        st.html(panels.message("One moment.", UNDER_WAY))
        return
    desk: Desk = state.desk
    with st.sidebar:
        above = st.container()
        sidebar.filters(desk, queue.choices)
        st.caption(KEYS)
    desk.read(queue.items)
    with above:
        sidebar.progress(desk, queue.agreement)
    _notices()
    if desk.current is None:
        _nothing_left(desk, queue)
    else:
        _question(desk, desk.current)


def _newest_queue(workspace: Workspace, signature: Signature | None) -> LiveQueue | None:
    """The queue of the last run; while a new one is being made, the one before; None where there is neither."""
    state = st.session_state
    if signature is None or signature == state.signature:
        return state.queue
    queue = load_queue(str(workspace.root), signature)
    if state.queue is not None and state.queue.run != queue.run:
        state.desk.restart()
        state.notice = ("A run has finished.", f"It asks {len(queue.items):,} questions, which are shown now.")
    state.queue, state.signature = queue, signature
    return queue


@st.fragment(run_every=WATCH)
def _watch(workspace: Workspace, seen: Signature | None) -> None:
    """Draw the page again as soon as there are other flags than were seen."""
    if flags_signature(workspace) not in (None, seen):
        st.rerun()


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
    st.html(panels.message(title, text, step=desk.step))
    with st.bottom, st.columns(8)[0]:
        undo_button(desk)


def _question(desk: Desk, item: Item) -> None:
    gallery: Gallery = st.session_state.gallery
    try:
        known = gallery.show(desk.ahead(Gallery.AHEAD))
        classes = read_json(desk.workspace.encoding)["classes"]
    except UserError:
        st.html(panels.message("One moment.", UNDER_WAY))
        return
    blind = desk.filters.standing == "second"
    st.html(panels.heading(item, desk.step, desk.position, desk.shown, not blind))
    shown = known.get(item.example_id)
    current = shown is not None and shown.content == item.content
    if shown is None or not current:
        st.html(panels.message("Not to be judged now.", CHANGED, "alarm"))
    else:
        left, right = st.columns([1.15, 1], gap="large")
        left.html(panels.example(shown, _remarks(desk.workspace, shown)))
        right.html(panels.evidence(item, shown, known))
    with st.bottom:
        answers(desk, item, [name for name in classes if name != item.given_label], current)
    with contextlib.suppress(UserError):  # which is told when the example is to be shown
        gallery.look_ahead(desk.ahead(Gallery.AHEAD))


def _remarks(workspace: Workspace, shown: Shown) -> dict[str, str]:
    signature = data_signature(workspace)
    if shown.row is None or signature is None:
        return {}
    return load_training_columns(str(workspace.root), signature).remarks(shown.row)


if __name__ == "__main__":
    main()
