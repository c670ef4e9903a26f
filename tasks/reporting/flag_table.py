"""The table of all flags as plain values, for the script of the page to sort, search and draw."""

from collections.abc import Mapping
from typing import Any, Literal

from tasks.reporting import formatting
from tasks.reporting.data import Flag, ReportData
from tasks.reporting.exhibits import VALUE_LIMIT

SIGNAL_NAMES = {  # of the signals of which each flag's rank is told
    "loss": "Loss",
    "self_influence": "Self-influence",
    "neighbours": "Neighbours",
    "confident_learning": "Cleanlab",
}
State = Literal["judged", "new", "open"]


def table(data: ReportData) -> Mapping[str, Any]:
    """Rows for templates/table.js, which writes them as text, never as HTML."""
    carded = {flag.example_id for flag in data.cards}
    signals = [SIGNAL_NAMES[name] for name in (data.flags[0].ranks if data.flags else {})]
    return {"signals": signals, "rows": [_row(data, flag, flag.example_id in carded) for flag in data.flags]}


def state(flag: Flag) -> State:
    """Where a flag stands in the review."""
    if flag.judged:
        return "judged"
    return "new" if flag.new else "open"


def _row(data: ReportData, flag: Flag, has_card: bool) -> list[Any]:
    exhibit = (data.gallery if has_card else data.other_flags)[flag.example_id]
    return [
        flag.rank,
        formatting.name(flag.example_id),
        formatting.name(flag.given),
        formatting.name(flag.suggested),
        round(flag.error_probability, 4),
        float(f"{flag.loss:.4g}"),
        float(f"{flag.self_influence:.4g}"),
        list(flag.ranks.values()),
        formatting.visible(flag.reason[:VALUE_LIMIT]),
        formatting.visible(exhibit.snippet),
        exhibit.picture if has_card or exhibit.picture is None else data.other_flags.pictures[exhibit.picture].uri,
        has_card,
        state(flag),
    ]
