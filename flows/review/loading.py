"""What the page reads, once per content of the files and for all its visitors together."""

from pathlib import Path

import streamlit as st

from flows.review.live_queue import LiveQueue
from flows.review.signatures import Signature
from tasks.reviews.rarity import Columns, load_columns
from tasks.workspace import Workspace


# Resources, not data: they are handed out as they are, never copied.
@st.cache_resource(max_entries=2, show_spinner=False)
def load_queue(root: str, signature: Signature) -> LiveQueue:
    """The queue of these flags.

    Raises:
        UserError: an artifact is missing or damaged.
    """
    return LiveQueue(Workspace(Path(root)))


@st.cache_resource(max_entries=1, show_spinner=False)
def load_training_columns(root: str, signature: Signature) -> Columns:
    """What values a table's columns take in these data."""
    return load_columns(Workspace(Path(root)))
