"""Two simple retrievers on the same split, so that a hasher's figures can be judged.

`float`: cosine of mean-pooled features, exact; about what the features allow without learning. `itq`: the
same features quantised to the hasher's number of bits without any network; a hasher that does not beat it is
not worth its training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.evaluation import Retrieval, evaluate_codes, evaluate_features
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.retrieval.relevance import Labels
from ssvh_model.retrieval.video_set import VideoSet


def float_yardstick(
    query: VideoSet,
    database: VideoSet,
    query_labels: Labels,
    database_labels: Labels,
    *,
    exclude_self: bool,
    progress: Progress = no_progress,
) -> Retrieval:
    """Retrieval by cosine of the mean-pooled features. Raises as `evaluate_features` does."""
    return evaluate_features(
        query.features,
        database.features,
        query_labels,
        database_labels,
        query.ids,
        database.ids,
        exclude_self=exclude_self,
        progress=progress,
    )


@dataclass(frozen=True)
class ItqCodes:
    """Codes of ITQ, [q, K] and [n, K] int8 in {-1, +1}."""

    query: np.ndarray
    database: np.ndarray


def itq_codes(
    train_features: np.ndarray, query: VideoSet, database: VideoSet, *, bits: int, seed: int
) -> ItqCodes:
    """Train ITQ on the training videos' mean-pooled features, [n, D] float32, and encode both sets.

    Raises:
        UserError: fewer than two training videos.
    """
    if len(train_features) < 2:
        raise UserError(
            f"the yardstick itq needs at least 2 training videos; there are {len(train_features)}"
        )
    itq = train_itq(train_features, bits=bits, seed=seed)
    return ItqCodes(itq.encode(query.features), itq.encode(database.features))


def itq_yardstick(
    codes: ItqCodes,
    query: VideoSet,
    database: VideoSet,
    query_labels: Labels,
    database_labels: Labels,
    *,
    exclude_self: bool,
    progress: Progress = no_progress,
) -> Retrieval:
    """Retrieval by the codes of ITQ. Raises as `evaluate_codes` does."""
    return evaluate_codes(
        codes.query,
        codes.database,
        query_labels,
        database_labels,
        query.ids,
        database.ids,
        exclude_self=exclude_self,
        progress=progress,
    )
