"""The sentences that open the report, each worded by what the numbers allow one to say."""

from tasks.reporting.data import ReportData
from tasks.reporting.formatting import count, name, percent
from tasks.reporting.since import Since

BASELINES = {"loss": "the loss", "margin": "the margin", "self_influence": "self-influence"}


def headline(data: ReportData) -> str:
    """What to do first, and what it will bring."""
    count_open = len(data.to_review)
    if not data.flags:
        return f"None of {count(data.training_examples)} training labels looks wrong."
    if count_open == 0:
        return "Every flagged label has been reviewed."
    if count_open == 1:
        return f"Review this label: it is wrong with a probability of {percent(data.to_review[0].error_probability)}."
    expected = round(data.expected_errors)
    return f"Review these {count(count_open)} labels: about {count(expected)} {_are(expected)} expected to be wrong."


def where_to_stop(data: ReportData) -> str | None:
    """What the first and the last of the list are worth."""
    probabilities = [flag.error_probability for flag in data.to_review]
    part = min(100, len(probabilities) // 2)
    if part < 5:
        return None
    first, last = round(sum(probabilities[:part])), round(sum(probabilities[-part:]))
    return (
        f"The list is ranked. Of its first {count(part)}, about {count(first)} {_are(first)} expected to be wrong; "
        f"of its last {count(part)}, about {count(last)}. Stop when the labels look right."
    )


def gained(since: Since) -> str | None:
    """What the accuracy did since the run before, as far as chance lets one say."""
    change = since.accuracy
    if change is None:
        return None
    if change.low > 0:
        return "The model got better, beyond what chance explains."
    if change.high < 0:
        return "The model got worse, beyond what chance explains."
    return "The change is within what chance explains."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


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


def validation_labels(data: ReportData) -> str:
    """Whether the flags could lean on the validation labels, and what follows where they could not."""
    if data.validation_trusted:
        return (
            "The labels of the validation set were taken to be right: they agree better with what was not trained on "
            "them than the labels of training do."
        )
    return (
        "The labels of the validation set look as wrong as those of training, so they tell less of what a right label "
        "looks like: probabilities are then less exact, and errors that look like hard examples are missed. To mend "
        "labels of the validation set helps the flags of the next run."
    )


def most_confused(data: ReportData) -> str | None:
    """The commonest mistake among the flags."""
    if not data.pairs:
        return None
    given, suggested, flags = data.pairs[0]
    return f"“{name(given)}” that looks like “{name(suggested)}” ({count(flags)} flags)"
