"""How well scores predict what retraining does: rank correlations, what they could be at most, and how sure one is."""

from influence.fidelity.bootstrap import Draws, Estimate, difference, estimate, resample
from influence.fidelity.ceiling import ceiling, ceiling_draws
from influence.fidelity.datamodel import datamodelling_draws, datamodelling_score
from influence.fidelity.pooled import pooled_correlation, pooled_draws, slope
from influence.fidelity.ranks import spearman
from influence.fidelity.removal import without_extremes, without_random
from influence.fidelity.stability import rank_stability, top_overlap

__all__ = [
    "Draws",
    "Estimate",
    "ceiling",
    "ceiling_draws",
    "datamodelling_draws",
    "datamodelling_score",
    "difference",
    "estimate",
    "pooled_correlation",
    "pooled_draws",
    "rank_stability",
    "resample",
    "slope",
    "spearman",
    "top_overlap",
    "without_extremes",
    "without_random",
]
