"""The precision-recall curve against a loop over radii and queries."""

import numpy as np

from ssvh_model.retrieval.precision_recall import precision_recall
from tests.ssvh_model.retrieval.naive import group_by_hamming


def test_equals_a_loop_over_radii_and_queries() -> None:
    generator = np.random.default_rng(0)
    distances = generator.integers(1, 9, (12, 40)).astype(np.uint16)
    relevant = generator.random((12, 40)) < 0.2
    relevant[3] = False
    curve = precision_recall(group_by_hamming(distances, relevant, bits=8, own=np.full(12, -1)))
    for radius in range(9):
        found = distances <= radius
        precisions = [relevant[q][found[q]].mean() for q in range(12) if found[q].any()]
        recalls = [found[q][relevant[q]].mean() for q in range(12) if relevant[q].any()]
        if precisions:
            assert np.isclose(curve.precision[radius], np.mean(precisions))
        else:
            assert np.isnan(curve.precision[radius])
        assert np.isclose(curve.recall[radius], np.mean(recalls))
        assert np.isclose(curve.answered[radius], found.any(axis=1).mean())
    assert curve.recall[-1] == 1


def test_rows_are_plain_and_without_nan() -> None:
    groups = group_by_hamming(
        np.array([[1, 2]], dtype=np.uint16), np.array([[True, False]]), bits=2, own=np.array([-1])
    )
    assert precision_recall(groups).rows() == [
        {"radius": 0, "precision": None, "recall": 0.0, "answered": 0.0},
        {"radius": 1, "precision": 1.0, "recall": 1.0, "answered": 1.0},
        {"radius": 2, "precision": 0.5, "recall": 1.0, "answered": 1.0},
    ]
