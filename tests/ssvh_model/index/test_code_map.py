from __future__ import annotations

import numpy as np

from ssvh_model.index.code_map import map_codes
from ssvh_model.retrieval.codes import pack, unpack


def test_it_is_what_classical_scaling_of_the_distances_gives(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    codes = pack(np.where(rng.random((40, 20)) < rng.random(20), 1, -1))
    monkeypatch.setattr("ssvh_model.index.code_map.ROWS_AT_ONCE", 7)
    places = map_codes(codes, 20)

    signs = unpack(codes, 20).astype(np.float64)
    squared = 4.0 * (signs[:, None] != signs[None]).sum(axis=2)  # of four times the Hamming distance
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    expected = vectors[:, ::-1][:, :2] * np.sqrt(values[::-1][:2])
    for axis in range(2):
        agreement = np.corrcoef(places[:, axis], expected[:, axis])[0, 1]
        assert abs(agreement) > 0.999
    np.testing.assert_allclose(places.std(axis=0), expected.std(axis=0), rtol=1e-3)
    np.testing.assert_array_equal(places, map_codes(codes, 20))


def test_few_videos_and_short_codes() -> None:
    assert map_codes(np.empty((0, 1), dtype=np.uint8), 8).shape == (0, 2)
    assert np.isfinite(map_codes(np.array([[1]], dtype=np.uint8), 8)).all()
    assert map_codes(np.array([[0], [1]], dtype=np.uint8), 1)[:, 1].tolist() == [0, 0]
