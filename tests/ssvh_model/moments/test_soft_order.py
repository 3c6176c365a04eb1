"""The order of what codes find by the query's soft code."""

from __future__ import annotations

import numpy as np
import pytest

from ssvh_model.index.scan import nearest
from ssvh_model.moments.film_rows import FilmRows
from ssvh_model.moments.matching import Rows
from ssvh_model.moments.query import Query
from ssvh_model.moments.soft_order import SHORTLIST, find_by_soft_code
from ssvh_model.retrieval.codes import pack, sign_codes
from ssvh_model.retrieval.hamming import as_words

BITS = 12  # few, so that many are equally near


def rows_of(codes: np.ndarray, spans: np.ndarray, films: FilmRows | None = None) -> Rows:
    words = as_words(pack(codes))

    def search(packed: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        return nearest(as_words(packed), words, count=count)

    return Rows(search, words, spans, films)


def one_row_each(count: int) -> np.ndarray:
    return np.tile(np.array([0.0, 4.0], dtype=np.float32), (count, 1))


def test_the_order_is_that_of_the_inner_products_with_all_codes() -> None:
    numbers = np.random.default_rng(3)
    codes = sign_codes(numbers.normal(size=(500, BITS)))
    soft = numbers.normal(size=BITS).astype(np.float32)
    found = find_by_soft_code(
        soft, Query(0.0, pack(sign_codes(soft[None]))[0]), rows_of(codes, one_row_each(500)), 10, "video"
    )
    products = codes.astype(np.float64) @ soft.astype(np.float64)
    assert sorted(moment.row for moment in found) == list(range(500))
    in_order = products[[moment.row for moment in found]]
    assert (np.diff(in_order) <= 1e-5).all()
    likeness = [moment.likeness for moment in found]
    assert likeness == pytest.approx(in_order / np.abs(soft).sum(), abs=1e-5)
    distances = [int((codes[moment.row] != sign_codes(soft)).sum()) for moment in found]
    assert [moment.distance for moment in found] == distances
    assert distances != sorted(distances)  # it is another order than that of codes


def test_equally_like_rows_come_as_they_are_in_the_index() -> None:
    codes = np.ones((5, BITS), dtype=np.int8)
    soft = np.linspace(0.1, 1.0, BITS).astype(np.float32)
    found = find_by_soft_code(
        soft, Query(0.0, pack(codes[:1])[0]), rows_of(codes, one_row_each(5)), 5, "video"
    )
    assert [moment.row for moment in found] == [0, 1, 2, 3, 4]
    assert [moment.likeness for moment in found] == pytest.approx([1.0] * 5)


def test_a_soft_code_of_zeros_is_like_nothing_and_orders_by_codes() -> None:
    codes = sign_codes(np.random.default_rng(0).normal(size=(20, BITS)))
    soft = np.zeros(BITS, dtype=np.float32)
    found = find_by_soft_code(
        soft, Query(0.0, pack(sign_codes(soft[None]))[0]), rows_of(codes, one_row_each(20)), 5, "video"
    )
    distances = [moment.distance for moment in found]
    assert distances == sorted(distances) and {moment.likeness for moment in found} == {0.0}


def test_a_film_of_more_rows_than_the_shortlist_leaves_room_for_others() -> None:
    numbers = np.random.default_rng(1)
    soft = numbers.normal(size=BITS).astype(np.float32)
    own = sign_codes(soft[None])
    film = np.repeat(own, SHORTLIST + 200, axis=0)
    others = sign_codes(numbers.normal(size=(30, BITS)))
    starts = np.concatenate([np.arange(len(film)) * 5.0, np.zeros(len(others))])
    spans = np.stack([starts, starts + 10.0], axis=1).astype(np.float32)
    first_rows = np.concatenate([np.zeros(len(film)), len(film) + np.arange(len(others))]).astype(np.int64)
    films = FilmRows(spans, first_rows)
    rows = rows_of(np.concatenate([film, others]), spans, films)
    by_video = find_by_soft_code(soft, Query(0.0, pack(own)[0]), rows, 10, "video")
    assert len(by_video) == 31 and by_video[0].row < len(film)
    likeness = [moment.likeness or 0.0 for moment in by_video]
    assert likeness == sorted(likeness, reverse=True)
    in_all = find_by_soft_code(soft, Query(0.0, pack(own)[0]), rows, 10, "none")
    assert [moment.start for moment in in_all[:3]] == [0.0, 5.0, 10.0]
