"""What the measurements allow one to say of a run's scores, in words, with the ground for it."""

from dataclasses import dataclass
from typing import Any

from tasks.validation.names import GRADIENT, NAMES, SIMILARITY

LOWEST_CEILING = 0.3  # below it retraining itself is too noisy to judge by
CLOSE = 0.7  # correlation with exact retraining from which a size is worth reading
FACTOR = 1.5  # by which sizes may be off


@dataclass(frozen=True)
class Verdict:
    """A verdict.

    Attributes:
        text: the measurement, and the advice that follows from it.
        warnings: reasons for distrust; empty where there are none.
    """

    text: str
    warnings: list[str]


def judge_halves(measured: dict[str, Any]) -> Verdict:
    """Of what retraining on halves has measured, as validation/metrics.json has it."""
    own, ceiling = measured["scores"]["influence"], measured["ceiling"]
    ground = (
        f"Scores rank {measured['subsets']} random halves of the training set, on which the model was trained again "
        f"with {_seeds(measured['seeds'])}, with LDS {_estimate(own)} over {measured['queries']} queries; "
        + (f"ceiling {_estimate(ceiling)}" if ceiling else "ceiling unknown, since it takes two seeds")
        + f"; {_others(measured)}."
    )
    warnings = _no_better(measured)
    if own["low"] <= 0:
        warnings.insert(0, "the scores rank the halves no better than chance does, as far as this budget can tell")
    if ceiling and ceiling["value"] < LOWEST_CEILING:
        warnings.append(
            "trained again with another seed the model itself changes about as much as with other data (the ceiling is "
            f"{ceiling['value']:.2f}), so that this measurement can tell little: raise `validate.seeds`"
        )
    advice = (
        "Do not rely on the scores for this model before its cause is found."
        if own["low"] <= 0
        else "Trust the order of the top lists, not their size."
    )
    further = [*map(_removal, measured.get("removal", [])), *_stability(measured.get("stability"))]
    return Verdict(" ".join([ground, *further, advice]), warnings)


def judge_leave_one_out(measured: dict[str, Any], examples: int, queries: int) -> Verdict:
    """Of exact retraining, see `leave_one_out.measure`."""
    own, factor = measured["scores"]["influence"], measured["actual_over_predicted"]
    ground = (
        f"Left out one at a time and retrained to the minimum, {examples} training examples move the losses of "
        f"{queries} queries as the scores predict with correlation {_estimate(own)} ({measured['among_top']:.2f} among "
        f"those of largest influence, {measured['among_random']:.2f} among others); {_others(measured)}. Actual "
        f"changes are {factor:.2f} times the predicted ones."
    )
    warnings = _no_better(measured)
    if own["low"] < CLOSE:
        warnings.insert(0, "the scores do not predict exact retraining well, as they should for a model this simple")
    sized = 1 / FACTOR <= factor <= FACTOR
    if not sized:
        warnings.append(
            "the sizes are off: the model may be short of its minimum, or the damping large beside the curvature"
        )
    if own["low"] < CLOSE:
        advice = "Do not rely on the scores for this model before its cause is found."
    else:
        advice = "Trust order and size." if sized else "Trust the order of the top lists, not their size."
    return Verdict(f"{ground} {advice}", warnings)


def unmeasured(reason: str) -> Verdict:
    """Where nothing was retrained."""
    return Verdict(
        f"Not measured: {reason}. How well the scores predict retraining is unknown for this run.",
        ["no retraining stands behind these scores"],
    )


def judge_solver(report: dict[str, Any]) -> list[str]:
    """Warnings from curvature/report.json."""
    short = report["queries"] - report["converged"]
    found = []
    if short:
        found.append(
            f"{short} of {report['queries']} queries were not solved to the tolerance (largest relative residual "
            f"{report['largest_residual']:.2g}): raise `precondition.max_iterations` or the damping"
        )
    if report.get("negative_curvature"):
        found.append(f"the solver met negative curvature for {report['negative_curvature']} queries")
    return found


def _removal(row: dict[str, Any]) -> str:
    """Of `removal.measure`."""
    rises = {name: f"{row[name]['value']:+.3f}" for name in ("influence", "similarity", "random")}
    return (
        f"Without the {row['removed']:,} examples that they hold most helpful the mean loss of the queries changes by "
        f"{rises['influence']} nats; without as many by similarity of features by {rises['similarity']}, at random by "
        f"{rises['random']}."
    )


def _stability(found: dict[str, Any] | None) -> list[str]:
    """Of `stability.compare`."""
    if found is None:
        return []
    return [
        f"With another seed {found['overlap']:.0%} of the {found['k']} at the top stay there "
        f"({found['by_chance']:.1%} by chance)."
    ]


def _no_better(measured: dict[str, Any]) -> list[str]:
    """The baselines that the scores are not above, as far as the interval of the difference says."""
    found = []
    for name in (GRADIENT, SIMILARITY):
        gap = measured["above"][name]
        if gap["high"] < 0:
            found.append(f"{NAMES[name]} predicts retraining better than the scores do ({_signed(gap)})")
        elif gap["low"] <= 0:
            found.append(f"the scores are not measurably better than {NAMES[name]} ({_signed(gap)})")
    return found


def _others(measured: dict[str, Any]) -> str:
    named = {"gradient product": GRADIENT, "similarity of features": SIMILARITY}
    return ", ".join(f"{words} {measured['scores'][name]['value']:.2f}" for words, name in named.items())


def _estimate(found: dict[str, float]) -> str:
    return f"{found['value']:.2f} ± {(found['high'] - found['low']) / 2:.2f}"


def _signed(found: dict[str, float]) -> str:
    return f"difference {found['value']:+.2f}, 95 % from {found['low']:+.2f} to {found['high']:+.2f}"


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds each"
