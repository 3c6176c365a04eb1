from __future__ import annotations

import numpy as np
import torch

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.initialization import start_from_itq
from ssvh_model.training.within_video import scatter_within_videos
from tests.ssvh_model.conftest import values_hasher

FRAMES, SIZE, KINDS, NOISY = 8, 32, 6, 4


def videos(count: int = 180, noise: float = 5.0) -> tuple[FrameSource, np.ndarray]:
    """Videos of six kinds, and the kinds; along four of the directions the frames of every video scatter far
    more than kinds differ.
    """
    rng = np.random.default_rng(0)
    kinds = np.arange(count) % KINDS
    scatter = np.where(np.arange(SIZE) < NOISY, noise, 0.1)
    means = rng.normal(size=(KINDS, SIZE))[kinds] + rng.normal(size=(count, SIZE)) * scatter
    frames = means[:, None] + rng.normal(size=(count, FRAMES, SIZE)) * scatter
    return FrameSource.from_tensor(
        [str(row) for row in range(count)], torch.from_numpy(frames).float()
    ), kinds


def hasher() -> VideoHasher:
    return values_hasher(feature_size=SIZE, frames=FRAMES, bits=16, width=SIZE, layers=1)


def test_frames_of_a_video_scatter_alike_in_all_directions() -> None:
    source, _ = videos()
    model = hasher()
    learn_center(model, source, batch_size=32)
    features = model.center(source.fetch(np.arange(len(source)))).double().numpy()
    deviations = (features - features.mean(axis=1, keepdims=True)).reshape(-1, SIZE)
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(SIZE, 20)))[0].T
    scatter = scatter_within_videos(model, source, torch.from_numpy(basis), batch_size=50)
    before = np.linalg.eigvalsh(np.cov((deviations @ basis.T).T))
    assert before[-1] > 10 * before[0]
    for shrinkage in (1e-6, 0.3):
        found = scatter.whitening(shrinkage).numpy()
        after = np.linalg.eigvalsh((deviations @ found.T).T @ (deviations @ found.T) / len(deviations))
        variance = np.linalg.eigvalsh(basis @ deviations.T @ deviations @ basis.T / len(deviations))
        np.testing.assert_allclose(
            after, np.sort(variance / (variance + shrinkage * variance.mean())), rtol=1e-4
        )


def test_stills_stay_as_they_are() -> None:
    still = torch.randn(12, 1, SIZE, generator=torch.Generator().manual_seed(1)).expand(-1, FRAMES, -1)
    source = FrameSource.from_tensor([str(row) for row in range(12)], still.contiguous())
    basis = torch.eye(SIZE, dtype=torch.float64)[:5]
    assert scatter_within_videos(hasher(), source, basis, batch_size=4).whitening(0.5) is basis


def same_kind_is_nearer(within_video: float | None) -> float:
    """Share of pairs, one of a kind and one of two kinds, in which the first is nearer."""
    source, kinds = videos()
    model = hasher()
    learn_center(model, source, batch_size=32)
    start_from_itq(model, source, whitening=0.5, within_video=within_video, seed=1, batch_size=32)
    codes = model.codes(source.fetch(np.arange(len(source)))).numpy()
    distances = (codes[:, None] != codes[None]).sum(axis=2)
    upper = np.triu_indices(len(codes), 1)
    same = (kinds[:, None] == kinds[None])[upper]
    near, far = distances[upper][same], distances[upper][~same]
    return float((near[:, None] < far[None, ::7]).mean())


def test_codes_tell_kinds_apart_where_frames_scatter_more() -> None:
    without, with_it = same_kind_is_nearer(None), same_kind_is_nearer(0.1)
    assert with_it > 0.95 > 0.85 > without


def test_the_batch_size_does_not_matter() -> None:
    source, _ = videos()
    basis = torch.eye(SIZE, dtype=torch.float64)
    found = [
        scatter_within_videos(hasher(), source, basis, batch_size=batch_size).whitening(0.1)
        for batch_size in (7, 180)
    ]
    np.testing.assert_allclose(*found, atol=1e-6)
