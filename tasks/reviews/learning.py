"""What the verdicts of earlier reviews teach of the flags."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from influence.detection.correction import Correction, learn_correction, normal_scores, selection_weights
from tasks.determinism import derived_seed
from tasks.reviews.ranking import shares_below
from tasks.reviews.settling import settle
from tasks.reviews.verdict import Verdict

LEAST = 20  # settled verdicts of both kinds, labels found wrong and found right, below which nothing is learned
SEED = 12  # purpose of random numbers


@dataclass(frozen=True)
class Lessons:
    """What was learned, and from how much.

    Attributes:
        correction: of the log-odds of error; None: too few verdicts, or they agree with the fusion as it is.
        wrong, right: settled verdicts that found the label wrong (relabel, drop) or right (keep).
    """

    correction: Correction | None
    wrong: int
    right: int

    def described(self) -> dict[str, object]:
        """For flags/metrics.json: how many verdicts there were to learn from, and whether the flags follow them."""
        return {"found_wrong": self.wrong, "found_right": self.right, "learned_from": self.correction is not None}

    def change(self, fused: np.ndarray, signals: Mapping[str, np.ndarray]) -> np.ndarray:
        """To be added to the log-odds of error by the fused signals, [N]; zero where nothing was learned."""
        if self.correction is None:
            return np.zeros(len(fused))
        scores = [normal_scores(shares_below(values), len(fused)) for values in signals.values()]
        return self.correction.change(fused, np.column_stack(scores))


def learn(
    verdicts: Iterable[Verdict], ids: list[str], fused: np.ndarray, signals: Mapping[str, np.ndarray], seed: int
) -> Lessons:
    """Learn from the settled verdicts that say what the signals were when they were given.

    A verdict speaks of the label and the signals that were shown, not of those that stand there since it was applied.

    Args:
        verdicts: all of them.
        ids: of the training examples, [N].
        fused: log-odds of error by the fused signals, before any verdict, [N].
        signals: by name, [N], that are learned from; where a verdict lacks one, it is taken to say nothing.
        seed: of the run.
    """
    settled = [one.verdict for one in settle(verdicts).values() if one.verdict is not None]
    known = [verdict for verdict in settled if verdict.fused_log_odds is not None and verdict.signals]
    wrong = np.array([verdict.verdict != "keep" for verdict in known], dtype=bool)
    counts = int(wrong.sum()), int((~wrong).sum())
    if min(counts) < LEAST:
        return Lessons(None, *counts)
    judged = {verdict.example_id for verdict in known}
    prior = np.array([verdict.fused_log_odds for verdict in known])
    shares = np.array([[verdict.signals.get(name, 0.5) for name in signals] for verdict in known])
    weights = selection_weights(prior, fused[[example_id not in judged for example_id in ids]])
    scores = normal_scores(shares, len(ids))
    reviews = np.array([verdict.run for verdict in known])
    return Lessons(learn_correction(prior, scores, wrong, weights, reviews, derived_seed(seed, SEED)), *counts)
