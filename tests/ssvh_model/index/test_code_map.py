from __future__ import annotations

import numpy as np

from ssvh_model.index.code_map import MOST_CLUSTERS, cluster_codes, map_codes
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


def near(centres: np.ndarray, each: int, *, flipped: float, seed: int) -> np.ndarray:
    """Signs of `each` codes around every centre, of whose bits some are flipped."""
    signs = centres.repeat(each, axis=0)
    return np.where(np.random.default_rng(seed).random(signs.shape) < flipped, -signs, signs)


def test_codes_around_the_same_centre_are_one_cluster_and_the_largest_is_the_first(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("ssvh_model.index.code_map.ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    centres = np.where(rng.random((2, 64)) < 0.5, 1, -1)
    signs = np.concatenate(
        [near(centres[:1], 3, flipped=0.05, seed=1), near(centres[1:], 5, flipped=0.05, seed=2)]
    )
    clusters = cluster_codes(pack(signs), 64, np.arange(8), 8)
    assert clusters.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(clusters, cluster_codes(pack(signs), 64, np.arange(8), 8))


def test_a_film_is_in_the_cluster_of_the_middle_of_its_segments() -> None:
    rng = np.random.default_rng(0)
    centres = np.where(rng.random((2, 64)) < 0.5, 1, -1)
    # Films 0 to 3 are of the one kind, 4 to 7 of the other; each begins with a segment of the other kind.
    signs, video = [], []
    for film in range(8):
        kind = centres[film // 4]
        signs += [-kind, kind, kind, kind]
        video += [film] * 4
    clusters = cluster_codes(pack(np.array(signs)), 64, np.array(video), 8)
    assert len(set(clusters[:4])) == len(set(clusters[4:])) == 1 and clusters[0] != clusters[7]


def test_rows_of_videos_that_are_not_wanted_count_for_nothing() -> None:
    codes = pack(np.where(np.random.default_rng(0).random((40, 16)) < 0.5, 1, -1))
    video = np.where(np.arange(40) % 2, -1, np.arange(40) // 2)
    np.testing.assert_array_equal(
        cluster_codes(codes, 16, video, 20), cluster_codes(codes[::2], 16, np.arange(20), 20)
    )


def test_few_videos_have_few_clusters_and_alike_ones_share_one() -> None:
    assert cluster_codes(np.empty((0, 1), dtype=np.uint8), 8, np.empty(0, dtype=np.int64), 0).shape == (0,)
    assert cluster_codes(np.array([[1]], dtype=np.uint8), 8, np.arange(1), 1).tolist() == [0]
    same = np.full((100, 2), 7, dtype=np.uint8)
    assert not cluster_codes(same, 16, np.arange(100), 100).any()
    differ = pack(np.where(np.random.default_rng(0).random((2000, 32)) < 0.5, 1, -1))
    clusters = cluster_codes(differ, 32, np.arange(2000), 2000)
    sizes = np.bincount(clusters)
    assert len(sizes) == MOST_CLUSTERS and (np.diff(sizes) <= 0).all() and sizes.min() > 0
