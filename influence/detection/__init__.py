"""Signals of label errors, their fusion, the probability that a label is wrong, and suggested labels."""

from influence.detection.budget import within_false_discoveries
from influence.detection.calibration import along_ranking
from influence.detection.class_evidence import ClassEvidence, match_frequencies, smoothed_votes
from influence.detection.error_model import ErrorModel, fit_error_model, learn_error_model
from influence.detection.folds import FoldRegressions, Standardiser
from influence.detection.fusion import fuse
from influence.detection.held_out_noise import fit_class_evidence, read_better
from influence.detection.isolation import conflicting_duplicates, duplicate_radius, outliers
from influence.detection.margin_odds import margin_log_odds
from influence.detection.neighbours import Neighbours, disagreement, nearest_neighbours
from influence.detection.suggestion import suggest

__all__ = [
    "ClassEvidence",
    "ErrorModel",
    "FoldRegressions",
    "Neighbours",
    "Standardiser",
    "along_ranking",
    "conflicting_duplicates",
    "disagreement",
    "duplicate_radius",
    "fit_class_evidence",
    "fit_error_model",
    "fuse",
    "learn_error_model",
    "margin_log_odds",
    "match_frequencies",
    "nearest_neighbours",
    "outliers",
    "read_better",
    "smoothed_votes",
    "suggest",
    "within_false_discoveries",
]
