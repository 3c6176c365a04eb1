"""A finer order of what codes have found: by the query's soft code, before it is cut to bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssvh_model.moments.matching import Group, Moment, Rows, find_shortlist
from ssvh_model.moments.query import Query
from ssvh_model.retrieval.codes import unpack

SHORTLIST = 1000  # rows that are looked at, or ten times as many as are wanted if these are more


def find_by_soft_code(soft: np.ndarray, query: Query, rows: Rows, count: int, group: Group) -> list[Moment]:
    """The rows that a soft code is likest to, among those that its code finds.

    Where codes are short, many rows are equally near: a bit counts here for as much as the query is sure of
    it. Source: the asymmetric distance of Gordo et al., "Asymmetric Distances for Binary Embeddings", 2014.

    Args:
        soft: of the query, [K]; its sign is the code.
        query: that is searched for by its code as a whole.
        rows: that are searched.
        count: how many are wanted, at least 1.
        group: video (the best row of each video) | none (several of one, too).

    Returns:
        All that were looked at, the likest first, equally like ones by distance and row. Their likeness is
        the inner product of soft code and code, divided by the largest that there can be, -1 to 1.
    """
    found = find_shortlist(query, rows, max(10 * count, SHORTLIST))
    packed = rows.words[[moment.row for moment in found]].view(np.uint8)[:, : len(query.code)]
    largest = float(np.abs(soft).sum()) or 1.0
    likeness = unpack(packed, len(soft)).astype(np.float32) @ soft / largest
    order = np.argsort(-likeness, kind="stable")
    ordered = [replace(found[place], likeness=float(likeness[place])) for place in order]
    if group == "video" and rows.films is not None:
        first: dict[int, Moment] = {}
        for moment in ordered:
            first.setdefault(int(rows.films.first_rows[moment.row]), moment)
        return list(first.values())
    return ordered
