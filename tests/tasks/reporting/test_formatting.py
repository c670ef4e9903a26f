import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reporting import formatting

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (-0.01234, "−0.0123"),
        (0.00001234, "1.23\u202f×\u202f10⁻⁵"),
        (-2e-9, "−2.00\u202f×\u202f10⁻⁹"),
        (12345.6, "12,346"),
        (999.9996, "1,000"),
    ],
)
def test_numbers_keep_three_digits(value: float, text: str) -> None:
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0"), (0.004, "<1"), (0.934, "93"), (0.996, ">99"), (1.0, "100")],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(share: float, text: str) -> None:
    assert formatting.percent(share) == f"{text}\u202f%"


@given(st.lists(finite, min_size=1, max_size=5))
def test_scaled_values_fit_a_narrow_column(values: list[float]) -> None:
    power = formatting.power_of_ten(values)
    assert all(len(formatting.scaled(value, power)) <= 7 for value in values)


@given(finite)
def test_the_sign_is_always_written(value: float) -> None:
    assert formatting.signed(value).startswith("+" if value > 0 else ("−" if value < 0 else "0"))


@given(st.text())
def test_names_are_short_and_hold_no_control_characters(text: str) -> None:
    shown = formatting.name(text)
    assert len(shown) <= formatting.NAME_LIMIT
    assert not any(character in shown for character in "\x00\x08\x0b\x1b\x7f\x9f")


@pytest.mark.parametrize(
    ("change", "text"), [(0.0123, "+1.2"), (-0.005, "−0.5"), (0.0, "±0.0"), (0.0002, "±0.0"), (-0.0002, "±0.0")]
)
def test_changes_of_shares_are_told_in_points_with_their_sign(change: float, text: str) -> None:
    assert formatting.points(change, unit=False) == text
    assert formatting.points(change) == f"{text} points"
