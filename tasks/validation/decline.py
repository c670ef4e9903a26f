"""Whether one run's scores can be trusted less than those of the run before."""

from typing import Any


def decline(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Compare two validation/metrics.json.

    A correlation has fallen if it lies below the other's 95 % interval, and the other above its own: a fall that either
    measurement alone could explain by chance is none. A verdict has fallen if it warns and the one before did not.

    Returns:
        the fall in words; None where there is none, or the two were measured in different ways.
    """
    fallen = []
    if before["method"] == now["method"] and "scores" in before and "scores" in now:
        old, new = before["scores"]["influence"], now["scores"]["influence"]
        if new["value"] < old["low"] and new["high"] < old["value"]:
            fallen.append(f"the scores' correlation with retraining fell from {_estimate(old)} to {_estimate(new)}")
    if now["warnings"] and not before["warnings"]:
        fallen.append(f"the verdict now warns: {'; '.join(now['warnings'])}")
    return "; ".join(fallen) or None


def _estimate(found: dict[str, float]) -> str:
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
