"""MAP@K, GMAP and the precision-recall curve of codes or features, over any number of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ssvh_model.errors import UserError
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.average_precision import average_precision, standard_form
from ssvh_model.retrieval.codes import pack
from ssvh_model.retrieval.distance_counts import DistanceCounts
from ssvh_model.retrieval.gmap import MAP_KS, gmap
from ssvh_model.retrieval.hamming import as_words
from ssvh_model.retrieval.precision_recall import PrecisionRecall, precision_recall
from ssvh_model.retrieval.relevance import Labels, Relevance, own_positions
from ssvh_model.retrieval.tie_groups import TieGroups, group_by_value

QUERIES_AT_ONCE = 256
"""Queries that a thread ranks at a time, by codes."""
PAIRS_AT_ONCE = 2**20
"""Query-database pairs in memory at a time, by features."""


@dataclass(frozen=True)
class Retrieval:
    """How well queries find the database videos that share a label with them.

    Attributes:
        gmap: geometric mean of `map_at_k`.
        map_at_k: K -> mean over queries of AP@K, divided by K.
        map_at_k_standard: the same, divided by min(K, relevant videos).
        precision_recall: over the Hamming radius; None for features, which have no radius.
        n_query: labelled queries, the ones that count.
        n_database: videos in the database.
        queries_without_label: queries left out, because nothing tells what they should find.
        queries_without_relevant: queries that count as 0, because no database video shares a label with them.
        database_without_label: database videos that are relevant to no query.
        average_precision: AP@K of the queries that count, in their order, for each K in `MAP_KS`, [n_query,
            6] float64. Two retrievers are compared query by query with it (`ssvh_model.retrieval.bootstrap`);
            it is no part of the record.
    """

    gmap: float
    map_at_k: dict[int, float]
    map_at_k_standard: dict[int, float]
    precision_recall: PrecisionRecall | None
    n_query: int
    n_database: int
    queries_without_label: int
    queries_without_relevant: int
    database_without_label: int
    average_precision: np.ndarray = field(repr=False, compare=False)


def why_not_measurable(query_labels: Labels, database_labels: Labels) -> str | None:
    """The reason why retrieval can't be measured with these labels, in one sentence; None if it can."""
    if not query_labels:
        return "retrieval can't be measured: there are no query videos"
    if not database_labels:
        return "retrieval can't be measured: there are no database videos"
    if not any(query_labels):
        return "retrieval can't be measured: no query video has a label, so nothing tells which answers are right"
    if not any(database_labels):
        return "retrieval can't be measured: no database video has a label, so nothing tells which answers are right"
    return None


Group = Callable[[np.ndarray, int, np.ndarray], TieGroups]
"""Groups the ranking of some queries: rows, the number of the first that counts, own positions."""


def evaluate_codes(
    query_codes: np.ndarray,
    database_codes: np.ndarray,
    query_labels: Labels,
    database_labels: Labels,
    query_ids: Sequence[str],
    database_ids: Sequence[str],
    *,
    exclude_self: bool,
    progress: Progress = no_progress,
) -> Retrieval:
    """Rank the database by Hamming distance for every query and measure the ranking; ties count by their
    expected value.

    Args:
        query_codes, database_codes: in {-1, +1}, [q, K] and [n, K] int8.
        query_labels, database_labels: one collection of labels a video, empty for an unlabelled one.
        query_ids, database_ids: one id a video; equal ids are the same video.
        exclude_self: leave a query out of its own ranking if it is in the database, too.
        progress: told the queries that are done.

    Raises:
        UserError: with these labels nothing can be measured (`why_not_measurable`), or a database id stands
            there twice.
        ValueError: lengths or numbers of bits disagree.
    """
    if query_codes.shape[1] != database_codes.shape[1]:
        raise ValueError(
            f"query codes have {query_codes.shape[1]} bits, database codes {database_codes.shape[1]}"
        )
    query, database = as_words(pack(query_codes)), as_words(pack(database_codes))

    def by_hamming(relevance: Relevance) -> Group:
        counts = DistanceCounts(database, relevance, bits=query_codes.shape[1])

        def group(rows: np.ndarray, start: int, own: np.ndarray) -> TieGroups:
            return counts.groups(query[rows], start=start, own=own)

        return group

    return _evaluate(
        by_hamming,
        query_labels,
        database_labels,
        query_ids,
        database_ids,
        len(query),
        len(database),
        exclude_self,
        progress,
        with_radius=True,
        at_once=QUERIES_AT_ONCE,
        threads=torch.get_num_threads(),
    )


def evaluate_features(
    query_features: np.ndarray,
    database_features: np.ndarray,
    query_labels: Labels,
    database_labels: Labels,
    query_ids: Sequence[str],
    database_ids: Sequence[str],
    *,
    exclude_self: bool,
    progress: Progress = no_progress,
) -> Retrieval:
    """The same by exact cosine distance of features, [q, D] and [n, D] float32. See `evaluate_codes`.

    Cosines are rounded to six decimals, about what float32 can tell, so that equal videos tie whatever the
    order of summation.
    """
    query, database = _unit(query_features), _unit(database_features)

    def by_cosine(relevance: Relevance) -> Group:
        def group(rows: np.ndarray, start: int, own: np.ndarray) -> TieGroups:
            distances = np.round(1.0 - query[rows] @ database.T, 6)
            relevant = relevance.rows(start, start + len(rows))
            return group_by_value(distances, relevant, depth=max(MAP_KS), own=own)

        return group

    return _evaluate(
        by_cosine,
        query_labels,
        database_labels,
        query_ids,
        database_ids,
        len(query),
        len(database),
        exclude_self,
        progress,
        with_radius=False,
        at_once=max(1, PAIRS_AT_ONCE // max(1, len(database))),
        threads=1,  # the matrix product has all of them
    )


def _evaluate(
    grouping: Callable[[Relevance], Group],
    query_labels: Labels,
    database_labels: Labels,
    query_ids: Sequence[str],
    database_ids: Sequence[str],
    n_query: int,
    n_database: int,
    exclude_self: bool,
    progress: Progress,
    *,
    with_radius: bool,
    at_once: int,
    threads: int,
) -> Retrieval:
    """Group the ranking of a few queries at a time, then average over all of them."""
    for name, values, length in (
        ("query labels", query_labels, n_query),
        ("query ids", query_ids, n_query),
        ("database labels", database_labels, n_database),
        ("database ids", database_ids, n_database),
    ):
        if len(values) != length:
            raise ValueError(f"{len(values)} {name} for {length} videos")
    reason = why_not_measurable(query_labels, database_labels)
    if reason is not None:
        raise UserError(reason)

    labelled = np.array([index for index, labels in enumerate(query_labels) if labels], dtype=np.int64)
    relevance = Relevance([query_labels[index] for index in labelled], database_labels)
    own = np.full(n_query, -1, dtype=np.int64)
    if exclude_self:
        own = own_positions(query_ids, database_ids)

    group = grouping(relevance)

    def measure(start: int) -> tuple[np.ndarray, TieGroups]:
        rows = labelled[start : start + at_once]
        groups = group(rows, start, own[rows])
        return average_precision(groups, MAP_KS), groups

    precision, standard, parts = [], [], []
    without_relevant = 0
    with _one_torch_thread(), ThreadPoolExecutor(threads) as pool:
        for found, groups in pool.map(measure, range(0, len(labelled), at_once)):
            precision.append(found)
            standard.append(standard_form(found, groups.total_relevant, MAP_KS))
            without_relevant += int((groups.total_relevant == 0).sum())
            if with_radius:
                parts.append(groups)
            progress(min(len(precision) * at_once, len(labelled)), len(labelled))

    per_query = np.concatenate(precision)
    mean = per_query.mean(axis=0)
    mean_standard = np.concatenate(standard).mean(axis=0)
    map_at_k = {k: float(value) for k, value in zip(MAP_KS, mean, strict=True)}
    return Retrieval(
        gmap=gmap(map_at_k),
        map_at_k=map_at_k,
        map_at_k_standard={k: float(value) for k, value in zip(MAP_KS, mean_standard, strict=True)},
        precision_recall=precision_recall(_joined(parts)) if with_radius else None,
        n_query=len(labelled),
        n_database=n_database,
        queries_without_label=n_query - len(labelled),
        queries_without_relevant=without_relevant,
        database_without_label=sum(not labels for labels in database_labels),
        average_precision=per_query,
    )


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Keep torch from dividing up what each of several threads does: its own threads would take turns with
    them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _joined(parts: Sequence[TieGroups]) -> TieGroups:
    """Groups of consecutive queries as one."""
    return TieGroups(
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.relevant for part in parts]),
        np.concatenate([part.total_relevant for part in parts]),
    )


def _unit(features: np.ndarray) -> np.ndarray:
    """Features scaled to length 1, float32; a video of zeros stays zero and is at distance 1 from everything.

    Raises:
        UserError: a feature is infinite or not a number.
    """
    features = np.asarray(features, dtype=np.float32)
    if not np.isfinite(features).all():
        raise UserError(
            "features: infinite or not a number in one video at least; allowed are finite numbers"
        )
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1.0)
