"""Influence scores, batch by batch."""

from influence.scores.pairwise import Pairwise
from influence.scores.self_influence import SelfInfluence
from influence.scores.top import TwoSidedTop

__all__ = ["Pairwise", "SelfInfluence", "TwoSidedTop"]
