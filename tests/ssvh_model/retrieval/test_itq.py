"""ITQ: finds a planted rotation, never raises its error, beats what it starts from."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ssvh_model.faiss_import import load_faiss
from ssvh_model.retrieval.itq import ITERATIONS, train_itq


def clusters(videos: int, size: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((12, size)) * 3
    return (centres[generator.integers(0, 12, videos)] + generator.standard_normal((videos, size))).astype(
        np.float32
    )


def test_finds_the_rotation_of_a_turned_cube() -> None:
    generator = np.random.default_rng(0)
    corners = generator.choice([-1.0, 1.0], (2000, 8))
    corners = np.concatenate([corners, -corners])
    turn, _ = np.linalg.qr(generator.standard_normal((8, 8)))
    turned = (corners @ turn).astype(np.float32)
    # There are local minima: not every start leads to the planted rotation, but some do, and exactly.
    ends = [train_itq(turned, bits=8, seed=seed).errors[-1] for seed in range(6)]
    assert min(ends) < 1e-6
    assert max(ends) < 0.2 < train_itq(turned, bits=8, seed=0).errors[0]


def test_the_error_never_rises() -> None:
    errors = train_itq(clusters(300, 40, 0), bits=16, seed=0).errors
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(errors))
    assert errors[-1] < errors[0]


def test_quantises_no_worse_than_faiss() -> None:
    """Faiss 1.15.1 does not lower the error of its random rotation; should that be mended, this still
    holds.
    """
    features = clusters(300, 16, 3)
    features -= features.mean(axis=0)
    faiss = load_faiss()
    theirs = faiss.ITQMatrix(16)
    theirs.train(features)
    rotated = theirs.apply(features)
    assert (
        train_itq(features, bits=16, seed=0).errors[-1] <= ((rotated - np.sign(rotated)) ** 2).mean() * 1.02
    )


def all_iterations(features: np.ndarray, bits: int, seed: int) -> np.ndarray:
    """The projection by the recipe as it is written, to its last iteration."""
    rows = torch.from_numpy(features - features.mean(axis=0, dtype=np.float64).astype(np.float32)).double()
    _, vectors = torch.linalg.eigh(rows.T @ rows)
    axes = vectors.flip(1)[:, :bits]
    first = np.random.default_rng(seed).standard_normal((bits, bits))
    rotation, _ = torch.linalg.qr(torch.from_numpy(first))
    for _ in range(ITERATIONS):
        signs = (rows @ axes @ rotation).sign()
        left, _, right = torch.linalg.svd((rows @ axes).T @ signs)
        rotation = left @ right
    return (axes @ rotation).numpy()


def test_stops_where_further_iterations_would_change_nothing() -> None:
    features = clusters(300, 40, 0)
    itq = train_itq(features, bits=16, seed=0)
    assert len(itq.errors) < ITERATIONS
    np.testing.assert_allclose(itq.projection, all_iterations(features, 16, 0), atol=1e-5)


@pytest.mark.parametrize("videos", [30, 200])
def test_projects_on_the_principal_axes(videos: int) -> None:
    """With fewer videos than features and with more."""
    features = clusters(videos, 60, 1)
    itq = train_itq(features, bits=6, seed=0)
    _, _, axes = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    inside = axes[:6] @ itq.projection
    np.testing.assert_allclose(inside.T @ inside, np.eye(6), atol=1e-4)


def test_codes_are_the_same_for_a_seed_and_in_range() -> None:
    features = clusters(100, 20, 2)
    codes = train_itq(features, bits=10, seed=5).encode(features)
    assert codes.dtype == np.int8 and set(np.unique(codes)) == {-1, 1}
    np.testing.assert_array_equal(codes, train_itq(features, bits=10, seed=5).encode(features))
    assert (codes != train_itq(features, bits=10, seed=6).encode(features)).any()


@pytest.mark.parametrize(("videos", "size"), [(100, 8), (16, 40), (2, 3)])
def test_more_bits_than_directions_are_spread_over_all(videos: int, size: int) -> None:
    features = clusters(videos, size, 0)
    itq = train_itq(features, bits=16, seed=0)
    directions = min(videos - 1, size)
    np.testing.assert_allclose(
        np.linalg.svd(itq.projection, compute_uv=False)[:directions], 1.0, atol=1e-4, err_msg="a rotation"
    )
    assert (itq.encode(features) != itq.encode(features)[0]).any(axis=0).all(), "every bit tells videos apart"
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(itq.errors))


def test_one_video_is_refused() -> None:
    with pytest.raises(ValueError, match="1 training videos; ITQ needs at least 2"):
        train_itq(clusters(1, 8, 0), bits=16, seed=0)
