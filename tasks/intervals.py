"""How far a measured share can be from the true one."""

from statistics import NormalDist


def wilson_interval(found: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, good for few examples and for shares near 0 and 1 too (Wilson 1927).

    Args:
        found: how many of them; of an expected number, any real one.
        total: out of how many, at least 1.
        confidence: that the true share is inside.

    Returns:
        the lower and the upper end, within 0 and 1.

    Raises:
        ValueError: there is no example, or more found than there are.
    """
    if not 0 <= found <= total or total < 1:
        raise ValueError(f"a share needs 0 <= found <= total and at least one example, not {found} of {total}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = found / total, z * z / total
    centre = (share + spread / 2) / (1 + spread)
    half = (share * (1 - share) * spread + spread**2 / 4) ** 0.5 / (1 + spread)
    return max(0.0, centre - half) if found else 0.0, min(1.0, centre + half) if found < total else 1.0


def change_interval(
    before: float, before_total: int, now: float, now_total: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the change of a share between two independent samples (Newcombe 1998, method 10).

    Args:
        before: how many there were, out of `before_total`.
        now: how many there are, out of `now_total`.
        confidence: that the true change is inside.

    Returns:
        the lower and the upper end of `now / now_total - before / before_total`.

    Raises:
        ValueError: a sample is empty, or holds fewer than were found in it.
    """
    old, new = before / max(before_total, 1), now / max(now_total, 1)
    old_low, old_high = wilson_interval(before, before_total, confidence)
    new_low, new_high = wilson_interval(now, now_total, confidence)
    down = ((new - new_low) ** 2 + (old_high - old) ** 2) ** 0.5
    up = ((new_high - new) ** 2 + (old - old_low) ** 2) ** 0.5
    return new - old - down, new - old + up


def paired_change_interval(gained: int, lost: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the change of a share measured twice on the same examples (Agresti and Min 2005).

    Half an example is added to each of the four cells, so that the interval has a width even where nothing changed.

    Args:
        gained: examples that were not counted before and are now.
        lost: examples that were counted before and are not now.
        total: of all examples.
        confidence: that the true change is inside.

    Raises:
        ValueError: there is no example, or fewer than changed.
    """
    if min(gained, lost) < 0 or gained + lost > total or total < 1:
        raise ValueError(f"a paired change needs gained + lost <= total, not {gained} + {lost} of {total}")
    n = total + 2
    change = (gained - lost) / n
    spread = ((gained + lost + 1) / n - change**2) / n
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * spread**0.5
    return max(-1.0, change - half), min(1.0, change + half)
