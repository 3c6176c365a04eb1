"""What third videos say against a pair: whoever shows one of two recordings that are the same shows the
other, too.

Where little moves, or all recordings begin alike, a video is somewhat like many others. One that has a copy
is more like that copy than like the rest, and the copy is not like the rest either. So what a likeness says
hangs on what both videos are like besides, as in the score normalisation of speaker verification
(Auckenthaler et al., "Score normalization for text-independent speaker verification systems", 2000) and of
copy detection (Pizzi et al., "The 2023 Video Similarity Dataset and Challenge"). There, likeness to others
counts against a pair whatever they are; here only likeness that one of the two has and the other has not, so
that many copies of one recording don't speak against each other.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

# The joint score is the logistic function of a weighted sum: of the log odds of the two alone and of the
# contradiction. `benchmarks/copy_weights.py` fits the weights, on corpora that nothing is judged on.
ALONE_WEIGHT, CONTRADICTION_WEIGHT, BIAS = 1.24, -5.79, 1.96
# That must be like one of the two at all; with fewer, that none contradicts says little.
FEWEST_OTHERS = 4
LEAST_ODDS = 1e-9  # of scores that are rounded to 0 or 1


def contradictions(pairs: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How likely it is that some third video shows the recording of one of two videos and not that of the
    other.

    Args:
        pairs: rows of videos, [pairs, 2] int64, each once.
        scores: how likely each shows one recording, by the two alone, [pairs] float, 0 to 1. 0 where that is
            not known; so count pairs that are not among them, too.

    Returns:
        For each pair the largest product of a third video's score with the one and 1 less that with the
        other, [pairs] float64, 0 to 1; and how many third videos have scores above 0, [pairs] int64.
    """
    like: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for (first, second), score in zip(pairs.tolist(), scores.tolist(), strict=True):
        if score > 0:
            like[first][second] = like[second][first] = score
    strongest, others = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=np.int64)
    for number, (first, second) in enumerate(pairs.tolist()):
        thirds = (like[first].keys() | like[second].keys()) - {first, second}
        others[number] = len(thirds)
        for third in thirds:
            one, other = like[first].get(third, 0.0), like[second].get(third, 0.0)
            strongest[number] = max(strongest[number], one * (1 - other), other * (1 - one))
    return strongest, others


def joint_scores(pairs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How likely pairs show one recording, with what third videos say.

    A pair with fewer than `FEWEST_OTHERS` third videos keeps its score.

    Args:
        pairs, scores: as for `contradictions`.

    Returns:
        [pairs] float64, 0 to 1; 0 where the score is 0.
    """
    strongest, others = contradictions(pairs, scores)
    odds = np.clip(scores, LEAST_ODDS, 1 - LEAST_ODDS)
    weighted = ALONE_WEIGHT * np.log(odds / (1 - odds)) + CONTRADICTION_WEIGHT * strongest + BIAS
    joint = np.where(others < FEWEST_OTHERS, scores, 1 / (1 + np.exp(-weighted)))
    return np.where(scores > 0, joint, 0.0)
