"""The evaluation of a hasher beside its yardsticks, and the record of it that other people's scripts read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.progress import Progress, no_progress, part_of
from ssvh_model.retrieval.bits import BitStatistics, bit_statistics
from ssvh_model.retrieval.evaluation import Retrieval, evaluate_codes, why_not_measurable
from ssvh_model.retrieval.relevance import Labels
from ssvh_model.retrieval.video_set import VideoSet
from ssvh_model.retrieval.yardsticks import ItqCodes, float_yardstick, itq_codes, itq_yardstick


@dataclass(frozen=True)
class Comparison:
    """The hasher and the yardsticks by one labelling; None where something can't be measured, with the reason
    in `reasons`.
    """

    hasher: Retrieval | None = None
    float_: Retrieval | None = None
    itq: Retrieval | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def measured(self) -> dict[str, Retrieval]:
        """What could be measured, by the names under which tables and pictures show it."""
        named = {"hasher": self.hasher, "float": self.float_, "itq": self.itq}
        return {name: result for name, result in named.items() if result is not None}


@dataclass(frozen=True)
class Evaluation:
    """Everything that is measured of a hasher.

    Attributes:
        bits: K.
        coarse: by the labels.
        fine: by the finer labels; None where the corpus has none.
        statistics: of the database's codes.
        n_query, n_database: videos, labelled or not.
        exclude_self: whether a query was left out of its own ranking.
    """

    bits: int
    coarse: Comparison
    fine: Comparison | None
    statistics: BitStatistics
    n_query: int
    n_database: int
    exclude_self: bool

    def record(self) -> dict[str, Any]:
        """As plain JSON. Names that scripts rely on: `bits`, `gmap`, `map_at_k` (keys "5" .. "100"),
        `map_at_k_standard`, `yardsticks.float.gmap`, `yardsticks.itq.gmap`, `n_query`, `n_database`. Null
        where `reasons` says why.
        """
        return {
            "bits": self.bits,
            **_comparison_record(self.coarse),
            "n_query": self.n_query,
            "n_database": self.n_database,
            "exclude_self": self.exclude_self,
            "fine": _comparison_record(self.fine) if self.fine is not None else None,
            "code_statistics": self.statistics.record(self.n_database),
        }


def evaluate_hasher(
    query: VideoSet,
    database: VideoSet,
    *,
    train_features: np.ndarray,
    exclude_self: bool,
    itq_seed: int,
    fine: bool = True,
    progress: Progress = no_progress,
) -> Evaluation:
    """Measure a hasher's codes and both yardsticks, by the labels and by the finer labels where there are
    any.

    What can't be measured (no labels, too few training videos for ITQ) is None and has a reason; it is no
    error.

    Args:
        query, database: the two sides, with codes and mean-pooled features.
        train_features: mean-pooled features of the training videos, [n, D] float32; ITQ learns from these
            only.
        exclude_self: leave a query out of its own ranking if it is in the database, too.
        itq_seed: of ITQ's first rotation.
        fine: measure by the finer labels, too, where there are any.
        progress: told the queries that are done, over all measurements.

    Raises:
        UserError: a database id stands there twice, or features are not finite.
    """
    for name, features in (
        ("query", query.features),
        ("database", database.features),
        ("training", train_features),
    ):
        if not np.isfinite(features).all():
            raise UserError(
                f"{name} features: infinite or not a number in one video at least; allowed are finite numbers"
            )
    bits = int(database.codes.shape[1])
    itq: ItqCodes | str
    try:
        itq = itq_codes(train_features, query, database, bits=bits, seed=itq_seed)
    except UserError as error:
        itq = str(error)

    labellings: list[tuple[Labels, Labels]] = [(query.labels, database.labels)]
    if fine and any(query.fine_labels) and any(database.fine_labels):
        labellings.append((query.fine_labels, database.fine_labels))
    work = 3 * len(query.ids)
    total = work * len(labellings)
    comparisons = [
        _compare(
            query,
            database,
            query_labels,
            database_labels,
            itq,
            exclude_self=exclude_self,
            progress=part_of(progress, before=index * work, total=total),
        )
        for index, (query_labels, database_labels) in enumerate(labellings)
    ]
    progress(total, total)
    return Evaluation(
        bits=bits,
        coarse=comparisons[0],
        fine=comparisons[1] if len(comparisons) > 1 else None,
        statistics=bit_statistics(database.codes),
        n_query=len(query.ids),
        n_database=len(database.ids),
        exclude_self=exclude_self,
    )


def _compare(
    query: VideoSet,
    database: VideoSet,
    query_labels: Labels,
    database_labels: Labels,
    itq: ItqCodes | str,
    *,
    exclude_self: bool,
    progress: Progress,
) -> Comparison:
    """The hasher and the yardsticks by one labelling."""
    reason = why_not_measurable(query_labels, database_labels)
    if reason is not None:
        return Comparison(reasons={"gmap": reason, "yardsticks.float": reason, "yardsticks.itq": reason})
    queries = len(query.ids)
    labels = (query_labels, database_labels)
    hasher = evaluate_codes(
        query.codes,
        database.codes,
        *labels,
        query.ids,
        database.ids,
        exclude_self=exclude_self,
        progress=progress,
    )
    exact = float_yardstick(
        query,
        database,
        *labels,
        exclude_self=exclude_self,
        progress=part_of(progress, before=queries, total=3 * queries),
    )
    if isinstance(itq, str):
        return Comparison(hasher, exact, None, {"yardsticks.itq": itq})
    quantised = itq_yardstick(
        itq,
        query,
        database,
        *labels,
        exclude_self=exclude_self,
        progress=part_of(progress, before=2 * queries, total=3 * queries),
    )
    return Comparison(hasher, exact, quantised)


def _comparison_record(comparison: Comparison) -> dict[str, Any]:
    """The retrieval part of the record, the same for both labellings."""
    hasher = comparison.hasher
    return {
        **_retrieval_record(hasher),
        "yardsticks": {
            "float": _retrieval_record(comparison.float_),
            "itq": _retrieval_record(comparison.itq),
        },
        "queries_without_label": hasher.queries_without_label if hasher else None,
        "queries_without_relevant": hasher.queries_without_relevant if hasher else None,
        "database_without_label": hasher.database_without_label if hasher else None,
        "reasons": dict(comparison.reasons),
    }


def _retrieval_record(retrieval: Retrieval | None) -> dict[str, Any]:
    if retrieval is None:
        return {"gmap": None, "map_at_k": None, "map_at_k_standard": None}
    return {
        "gmap": retrieval.gmap,
        "map_at_k": {str(k): value for k, value in retrieval.map_at_k.items()},
        "map_at_k_standard": {str(k): value for k, value in retrieval.map_at_k_standard.items()},
    }


def evaluation_figures(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an evaluation under the names that MLflow shows: `gmap`, `map_at_5`, `float_gmap`,
    `fine_gmap`, ...
    """
    figures: dict[str, float] = {}
    for prefix, part in (("", record), ("fine_", record["fine"] or {})):
        for name, result in (
            ("", part),
            *((f"{name}_", one) for name, one in part.get("yardsticks", {}).items()),
        ):
            if result.get("gmap") is not None:
                figures[f"{prefix}{name}gmap"] = result["gmap"]
        for k, value in (part.get("map_at_k") or {}).items():
            figures[f"{prefix}map_at_{k}"] = value
    figures |= {
        name: value for name, value in record["code_statistics"].items() if isinstance(value, int | float)
    }
    return figures
