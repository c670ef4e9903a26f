"""Below the example: the answers, each a button and a key."""

import functools
from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from flows.review.desk import Desk
from flows.review.options import distinct
from tasks.errors import UserError
from tasks.reviews.queue import Item
from tasks.reviews.verdict import Answer


def answers(desk: Desk, item: Item, classes: list[str], current: bool) -> None:
    """A button for every answer, all alike: none is to be nearer at hand than the evidence makes it.

    Their names change with every step, so that one pressed twice cannot judge an unseen example.
    """
    keep, relabel, label, drop, unsure, undo, back, on = st.columns([1, 1.1, 1.5, 1, 1.1, 1, 0.9, 0.9])
    names, select = distinct(classes), f"press-l-{desk.step}"
    name = label.selectbox(
        "Relabel to",
        names,
        index=classes.index(item.suggested_label) if item.suggested_label in classes else None,
        placeholder="Another label (L)",
        key=select,
        label_visibility="collapsed",
        disabled=not current,
    )

    def judge(what: Answer) -> None:
        # The label as it is when the button is pressed: the page may not have been drawn since it was chosen.
        if what != "relabel":
            desk.judge(item, what)
        elif (chosen := st.session_state[select]) is not None:
            desk.judge(item, what, classes[names.index(chosen)])

    def answer(place: DeltaGenerator, word: str, key: str, what: Answer, possible: bool) -> None:
        place.button(
            f"{word} `{key.upper()}`",
            key=f"press-{key}-{desk.step}",
            disabled=not possible,
            on_click=_act,
            args=(desk, desk.step, functools.partial(judge, what)),
            width="stretch",
        )

    answer(keep, "Keep", "k", "keep", current)
    answer(relabel, "Relabel", "r", "relabel", current and name is not None)
    answer(drop, "Drop", "d", "drop", current)
    answer(unsure, "Unsure", "u", "unsure", current)
    with undo:
        undo_button(desk)
    for place, word, key, steps in ((back, "←", "p", -1), (on, "→", "n", 1)):
        place.button(
            f"{word} `{key.upper()}`",
            key=f"press-{key}-{desk.step}",
            on_click=_act,
            args=(desk, desk.step, functools.partial(desk.move, steps)),
            width="stretch",
        )


def undo_button(desk: Desk) -> None:
    """Take back the last answer of this session."""
    st.button(
        "Undo `Z`",
        key=f"press-z-{desk.step}",
        disabled=not desk.given,
        on_click=_act,
        args=(desk, desk.step, desk.undo),
        width="stretch",
    )


def _act(desk: Desk, step: int, act: Callable[[], None]) -> None:
    """Do what a button is for, once: a click while the page is still being drawn can make Streamlit repeat the last."""
    if step != desk.step:
        return
    try:
        act()
    except (UserError, OSError) as error:
        st.session_state.problem = ("This verdict was not written.", str(error))
