"""What a verdict may say."""

from collections.abc import Callable

import pytest

from tasks.errors import UserError
from tasks.reviews.verdict import Verdict


@pytest.mark.parametrize(
    ("verdict", "reviewer", "new_label", "message"),
    [
        ("maybe", "ann", None, "unknown verdict 'maybe'"),
        ("keep", " ", None, "has no reviewer"),
        ("relabel", "ann", None, "a relabel needs one"),
        ("keep", "ann", "dog", "nothing else has one"),
    ],
)
def test_what_could_not_be_applied_is_refused(
    make_verdict: Callable[..., Verdict], verdict: str, reviewer: str, new_label: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_verdict("a", verdict, reviewer, new_label)
