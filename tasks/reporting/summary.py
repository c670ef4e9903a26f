"""The sentences that open the report, each worded by what the numbers allow one to say."""

from tasks.reporting.data import ReportData
from tasks.reporting.formatting import count, name, percent

BASELINES = {"loss": "the loss", "margin": "the margin", "self_influence": "self-influence"}


def headline(data: ReportData) -> str:
    """How many labels to look at. They are called wrong only if most of them are expected to be."""
    flags = len(data.flags)
    if flags == 0:
        return f"None of {count(data.training_examples)} training labels looks wrong."
    few = flags == 1
    looks = "looks wrong" if few else "look wrong"
    worth = "is worth a second look" if few else "are worth a second look"
    verdict = looks if data.expected_errors >= flags / 2 else worth
    return f"{count(flags)} of {count(data.training_examples)} training labels {verdict}."


def expectation(data: ReportData) -> str:
    """What the error probabilities of the flags add up to."""
    if not data.flags:
        return "No training example was suspect enough to be listed."
    return (
        f"Their error probabilities add up to about {count(data.expected_errors)} wrong labels. "
        "The list is ranked: start at the top and stop when the labels look right."
    )


def detection_verdict(data: ReportData) -> str | None:
    """What inspection by this list finds of the planted errors, beside the best simple signal."""
    if data.detections is None:
        return None
    flags = data.detections["flags"]
    best = max(BASELINES, key=lambda signal: data.detections[signal].recall[5])  # type: ignore[index]
    rival = data.detections[best].recall[5]
    comparison = f"{BASELINES[best]} alone, the best of the simple signals, finds {percent(rival)}"
    advice = "" if flags.recall[5] > rival else " On this data the simple signal serves as well as the whole list."
    return (
        "A reviewer who inspects the 5\u202f% most suspect training examples finds "
        f"{percent(flags.recall[5])} of the {count(data.planted)} planted errors; {comparison}; "
        f"a random order finds 5\u202f%.{advice}"
    )


def most_confused(data: ReportData) -> str | None:
    """The commonest mistake among the flags."""
    if not data.pairs:
        return None
    given, suggested, flags = data.pairs[0]
    return f"“{name(given)}” that looks like “{name(suggested)}” ({count(flags)} flags)"
