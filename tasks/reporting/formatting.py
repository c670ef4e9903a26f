"""Numbers and strings as a person reads them."""

import math
import re
from collections.abc import Sequence

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
NAME_LIMIT = 80


def count(value: float) -> str:
    return f"{round(value):,}"


def percent(share: float, digits: int = 0) -> str:
    """0.934 as 93 %, with a narrow no-break space; never rounded up to 100 or down to 0."""
    step = 10.0 ** -(digits + 2)
    if 0 < share < step / 2:
        return f"<{step * 100:.{digits}f}\u202f%"
    if 1 - step / 2 <= share < 1:
        return f">{(1 - step) * 100:.{digits}f}\u202f%"
    return f"{share * 100:.{digits}f}\u202f%"


def number(value: float, digits: int = 3) -> str:
    """Three significant digits; powers of ten where zeros would hide them."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -3 <= exponent < 5:
        return f"{value:,.{max(digits - 1 - exponent, 0)}f}".replace("-", "−")
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}\u202f×\u202f10{str(int(power)).translate(SUPERSCRIPTS)}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """As `number`, with its sign always written."""
    return f"+{number(value, digits)}" if value > 0 else number(value, digits)


def points(change: float, unit: bool = True) -> str:
    """The change of a share in percentage points, with its sign."""
    text = f"{100 * change:+.1f}".replace("-", "−")
    text = f"±{text[1:]}" if text[1:] == "0.0" else text
    return f"{text} points" if unit else text


def power_of_ten(values: Sequence[float], plain: range = range(-1, 3)) -> int:
    """The power of ten of the largest of some values; 0 where it is a plain one, or they are all zero."""
    largest = max(map(abs, values), default=0.0)
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    return 0 if power in plain else power


def scaled(value: float, power: int) -> str:
    """A signed value in units of a power of ten, two digits after the point."""
    return f"{value / 10.0**power:+.2f}".replace("-", "−")


def nats(power: int) -> str:
    """The unit `scaled` counts in."""
    return "nats" if power == 0 else f"10{str(power).translate(SUPERSCRIPTS)} nats"


def visible(text: str) -> str:
    """Text without control characters, each replaced by a mark: HTML has no way to write them."""
    return CONTROL.sub("\ufffd", text)


def name(text: str) -> str:
    """A label, an id or a slice's value, cut to a length that a heading or a cell can hold."""
    text = visible(text)
    return text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…"
