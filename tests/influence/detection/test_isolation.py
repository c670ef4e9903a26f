"""Near-duplicates and outliers, worked out by hand."""

import numpy as np

from influence.detection import conflicting_duplicates, duplicate_radius, outliers


def test_the_radius_is_a_share_of_the_usual_distance_and_never_nothing() -> None:
    assert duplicate_radius(np.array([0.1, 1.0, 2.0])) == 0.13
    assert duplicate_radius(np.zeros(5)) == 1e-3


def test_conflict_is_the_share_of_the_near_duplicates_with_another_label() -> None:
    indices = np.array([[1, 2], [0, 2], [0, 1]])
    distances = np.array([[0.01, 0.02], [0.01, 0.5], [0.7, 0.8]])
    labels = np.array([0, 0, 1])
    assert conflicting_duplicates(indices, distances, labels, labels, 0.1).tolist() == [0.5, 0.0, 0.0]
    assert conflicting_duplicates(indices, distances, labels, 1 - labels, 0.1).tolist() == [0.5, 1.0, 0.0]


def test_outliers_are_far_out_of_the_others() -> None:
    distances = np.full((20, 3), 1.0) + np.linspace(0, 0.1, 20)[:, None]
    assert not outliers(distances).any()
    distances[4] += 1.0
    assert np.flatnonzero(outliers(distances)).tolist() == [4]
