"""How far a measured share can be from the true one."""

from statistics import NormalDist


def wilson_interval(found: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, good for few examples and for shares near 0 and 1 too (Wilson 1927).

    Args:
        found: how many of them.
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
