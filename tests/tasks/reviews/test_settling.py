"""Which verdicts count."""

from collections.abc import Callable

import pytest

from tasks.reviews.settling import agreement, settle
from tasks.reviews.verdict import Verdict

Make = Callable[..., Verdict]


def test_the_last_verdict_of_a_reviewer_counts(make_verdict: Make) -> None:
    given = [make_verdict("a", "keep"), make_verdict("b", "drop"), make_verdict("a", "relabel", new_label="dog")]
    settled = settle(given)
    assert settled["a"].verdict == given[2] and settled["b"].verdict == given[1]
    assert settled["a"].counted == [given[2]]


def test_reviewers_who_agree_settle_and_who_do_not_contest(make_verdict: Make) -> None:
    to_dog = [make_verdict("a", "relabel", name, "dog") for name in ("ann", "bob")]
    assert settle(to_dog)["a"].verdict == to_dog[1]
    contested = settle([*to_dog, make_verdict("a", "relabel", "cy", "cow")])["a"]
    assert (contested.state, contested.verdict, len(contested.counted)) == ("contested", None, 3)
    assert settle([*to_dog, make_verdict("a", "keep", "bob")])["a"].state == "contested"


def test_unsure_decides_nothing(make_verdict: Make) -> None:
    unsure = make_verdict("a", "unsure", "bob")
    assert settle([unsure])["a"].state == "unsure"
    keep = make_verdict("a", "keep")
    assert settle([keep, unsure])["a"].verdict == keep
    assert settle([make_verdict("a", "keep", "bob"), unsure])["a"].state == "unsure"  # a change of mind


def test_what_is_withdrawn_never_was(make_verdict: Make) -> None:
    keep, drop = make_verdict("a", "keep"), make_verdict("a", "drop", "bob")
    assert settle([keep, make_verdict("a", "withdrawn")]) == {}
    left = settle([keep, drop, make_verdict("a", "withdrawn", "bob")])["a"]
    assert left.verdict == keep and left.counted == [keep]
    assert settle([keep, make_verdict("a", "withdrawn"), keep])["a"].verdict == keep


def test_agreement_is_over_the_examples_that_two_decided(make_verdict: Make) -> None:
    assert agreement([make_verdict("a", "keep"), make_verdict("a", "unsure", "bob")]) == (None, 0)
    given = [
        *(make_verdict(name, "keep", who) for name in "abc" for who in ("ann", "bob")),
        make_verdict("c", "drop", "bob"),
        make_verdict("d", "keep"),
    ]
    share, examples = agreement(given)
    assert share == pytest.approx(2 / 3) and examples == 3
