"""Average precision at K of a ranking with ties, as its expected value over random orders of each tie
group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssvh_model.retrieval.tie_groups import TieGroups


def expected_hit_precision(groups: TieGroups, depth: int) -> np.ndarray:
    """Expected value of relevant(r) * precision(r) at the ranks r = 1 .. depth, [q, depth] float64.

    At position j of a group of m videos, r of them relevant, with c videos and R relevant ones in nearer
    groups (McSherry and Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores", ECIR 2008):

        (r / m) * (R + 1 + (j - 1) * (r - 1) / (m - 1)) / (c + j)

    r / m is the chance that a relevant video stands there; given that, (r - 1) / (m - 1) is the chance of one
    at each earlier position of the group. Ranks beyond the end of the ranking give 0.
    """
    queries, width = groups.items.shape
    after = groups.items.cumsum(axis=1)
    relevant_after = groups.relevant.cumsum(axis=1)

    # The group that holds a rank is the number of groups that end before it.
    ends = np.minimum(after, depth) + (np.arange(queries) * (depth + 1))[:, None]
    ended = np.bincount(ends.ravel(), minlength=queries * (depth + 1)).reshape(queries, depth + 1)
    group = ended.cumsum(axis=1)[:, :depth]
    inside = group < width
    group = np.minimum(group, width - 1)

    def at_rank(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, group, axis=1)

    m, r = at_rank(groups.items), at_rank(groups.relevant)
    c, before = at_rank(after) - m, at_rank(relevant_after) - r
    rank = np.arange(1, depth + 1)
    j = rank - c
    chance = r / np.maximum(m, 1)
    earlier = (j - 1) * (r - 1) / np.maximum(m - 1, 1)
    return np.where(inside, chance * (before + 1 + earlier) / rank, 0.0)


def average_precision(groups: TieGroups, ks: Sequence[int]) -> np.ndarray:
    """AP@K of each query for each K in `ks`, as the hashing field reports it, [q, len(ks)] float64.

    AP@K = (1 / K) * sum over ranks r <= K of precision(r) * relevant(r). The divisor is K and not the number
    of relevant videos, so a query with fewer than K relevant videos can't reach 1.
    """
    sums = expected_hit_precision(groups, max(ks)).cumsum(axis=1)
    return sums[:, np.asarray(ks) - 1] / np.asarray(ks, dtype=np.float64)


def standard_form(average_precision: np.ndarray, total_relevant: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """AP@K as textbooks have it, divided by min(K, relevant videos); 0 for a query without any relevant
    video.

    Args:
        average_precision: as the function of this name gives it, [q, len(ks)].
        total_relevant: relevant videos in the whole database, [q] integers.
        ks: the same K.
    """
    counts = np.asarray(ks)[None, :]
    return average_precision * counts / np.maximum(np.minimum(counts, total_relevant[:, None]), 1)
