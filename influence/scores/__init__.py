"""Influence scores, batch by batch."""

from influence.scores.factored import FactoredPairwise
from influence.scores.gradient_index import Compressed, LeadingCoordinates, recall
from influence.scores.group import NewtonGroups, first_order_groups
from influence.scores.low_rank import LowRankError, low_rank_error
from influence.scores.measurement_change import measurement_changes
from influence.scores.newton import NewtonStep
from influence.scores.norms import FactoredNorms, SolvedNorms, norm_in_metric
from influence.scores.pairwise import Pairwise, Scores
from influence.scores.perturbation import perturbation
from influence.scores.relative import RelativeInfluence, order_of
from influence.scores.self_influence import SelfInfluence
from influence.scores.top import TwoSidedTop

__all__ = [
    "Compressed",
    "FactoredNorms",
    "FactoredPairwise",
    "LeadingCoordinates",
    "LowRankError",
    "NewtonGroups",
    "NewtonStep",
    "Pairwise",
    "RelativeInfluence",
    "Scores",
    "SelfInfluence",
    "SolvedNorms",
    "TwoSidedTop",
    "first_order_groups",
    "low_rank_error",
    "measurement_changes",
    "norm_in_metric",
    "order_of",
    "perturbation",
    "recall",
]
