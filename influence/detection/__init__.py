"""Signals of label errors, their fusion, their calibration, and suggested labels."""

from influence.detection.calibration import Calibrator, evidence
from influence.detection.fusion import fuse
from influence.detection.neighbours import disagreement, neighbour_votes
from influence.detection.suggestion import label_posterior, suggest

__all__ = ["Calibrator", "disagreement", "evidence", "fuse", "label_posterior", "neighbour_votes", "suggest"]
