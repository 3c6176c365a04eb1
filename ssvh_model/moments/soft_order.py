"""A finer order of what codes have found: by the query's soft code, before it is cut to bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ssvh_model.moments.matching import Group, Moment, Rows, find_moments
from ssvh_model.moments.query import Query
from ssvh_model.retrieval.codes import unpack

SHORTLIST = 1000  # rows that are looked at, or ten times as many as are wanted if these are more


def find_by_soft_code(
    soft: np.ndarray, code: np.ndarray, rows: Rows, count: int, group: Group
) -> list[Moment]:
    """The rows that a soft code is likest to, among those that its code finds.

    Where codes are short, many rows are equally near: a bit counts here for as much as the query is sure of
    it. Source: the asymmetric distance of Gordo et al., "Asymmetric Distances for Binary Embeddings", 2014.

    Args:
        soft: of the query, [K]; its sign is the code.
        code: of the query, [ceil(K / 8)] uint8.
        rows: that are searched.
        count: how many are wanted, at least 1.
        group: video (the best row of each video) | none (several of one, too).

    Returns:
        All that were looked at, the likest first, equally like ones by distance and row. Their likeness is
        the inner product of soft code and code, divided by the largest that there can be, -1 to 1.
    """
    most = max(10 * count, SHORTLIST)
    # Of one film alone there may be as many rows as that.
    groups: tuple[Group, ...] = ("video",) if rows.films is None else ("video", "none")
    shortlist = {
        moment.row: moment for kind in groups for moment in find_moments(Query(0.0, code), rows, most, kind)
    }
    found = list(shortlist.values())
    packed = rows.words[list(shortlist)].view(np.uint8)[:, : len(code)]
    largest = float(np.abs(soft).sum()) or 1.0
    likeness = unpack(packed, len(soft)).astype(np.float32) @ soft / largest
    order = np.lexsort((list(shortlist), [moment.distance for moment in found], -likeness))
    ordered = [replace(found[place], likeness=float(likeness[place])) for place in order]
    if group == "video" and rows.films is not None:
        first: dict[int, Moment] = {}
        for moment in ordered:
            first.setdefault(int(rows.films.first_rows[moment.row]), moment)
        return list(first.values())
    return ordered
