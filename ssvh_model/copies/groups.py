"""Groups of videos that show one recording, from scores of pairs that may contradict each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ssvh_model.index.duplicates import groups_of_pairs


def consistent_groups(
    pairs: np.ndarray, scores: np.ndarray, *, least: float, same: np.ndarray, videos: int
) -> list[np.ndarray]:
    """Groups whose videos are alike on average (average linkage; Sokal and Michener, 1958).

    Whoever shows the recording of a video shows that of its copies, too. A pair that scores well by chance
    contradicts that: one of the two has a copy that the other is not like, so the mean over both is low.

    Args:
        pairs: rows of videos that were compared, [pairs, 2] int64, each once.
        scores: of these, [pairs] float, 0 to 1; a pair that is not among them counts as 0.
        least: mean score from which on two groups are one.
        same: pairs that are known to show one recording, whatever they score, [known, 2] int64.
        videos: how many there are.

    Returns:
        Rows of each group of two or more, ascending; the largest group first, then by its first row.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    group_of = np.arange(videos)
    for group in groups_of_pairs(same, videos):
        group_of[group] = group[0]
    score_of = {
        tuple(sorted(pair)): score for pair, score in zip(pairs.tolist(), scores.tolist(), strict=True)
    }
    near = pairs[scores >= least]
    found = []
    for rows in groups_of_pairs(np.concatenate([near, same]), videos):
        first, second = np.triu_indices(len(rows), 1)
        together = zip(rows[first].tolist(), rows[second].tolist(), strict=True)
        distances = 1 - np.array([score_of.get(pair, 0.0) for pair in together])
        # What is known comes first, and as one.
        distances[group_of[rows[first]] == group_of[rows[second]]] = 0
        # A little more than the distance, which is a difference of rounded numbers.
        which = fcluster(linkage(distances, "average"), 1 - least + 1e-9, "distance")
        found += [rows[which == number] for number in range(1, which.max() + 1)]
    return sorted((group for group in found if len(group) > 1), key=lambda group: (-len(group), group[0]))


def in_one_group(pairs: Iterable[tuple[int, int]], groups: list[np.ndarray]) -> list[bool]:
    """Whether both videos of each pair are in one group."""
    group_of = {row: number for number, group in enumerate(groups) for row in group.tolist()}
    return [first in group_of and group_of[first] == group_of.get(second) for first, second in pairs]
