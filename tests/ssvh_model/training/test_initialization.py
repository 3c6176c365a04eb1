from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.initialization import Whitening, evens_out, start_from_itq, whitening_by_length
from tests.ssvh_model.conftest import values_hasher

FRAMES, SIZE, BITS = 6, 40, 16


def videos(count: int = 120, spread: float = 0.05) -> FrameSource:
    """Videos whose frames scatter little, in directions of very different strength."""
    rng = np.random.default_rng(0)
    strength = 1 / np.arange(1, SIZE + 1)
    means = rng.normal(size=(count, 1, SIZE)) * strength
    frames = means + spread * rng.normal(size=(count, FRAMES, SIZE)) * strength + 3
    return FrameSource.from_tensor([str(row) for row in range(count)], torch.from_numpy(frames).half())


def hasher(bits: int = BITS, width: int = 48) -> VideoHasher:
    return values_hasher(feature_size=SIZE, frames=FRAMES, bits=bits, width=width, layers=2)


def started(
    source: FrameSource, whitening: Whitening, seed: int = 1, within_video: float | None = None
) -> VideoHasher:
    model = hasher()
    learn_center(model, source, batch_size=32)
    start_from_itq(model, source, whitening=whitening, within_video=within_video, seed=seed, batch_size=32)
    return model


def all_features(source: FrameSource) -> torch.Tensor:
    return source.fetch(np.arange(len(source))).float()


def faithfulness(codes: np.ndarray, features: np.ndarray) -> float:
    """Correlation of Hamming distances with distances of features."""
    pairs = np.triu_indices(len(codes), 1)
    hamming = (codes[:, None] != codes[None]).sum(axis=2)[pairs]
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)[pairs]
    return float(np.corrcoef(hamming, distances)[0, 1])


def test_the_first_codes_are_as_good_as_those_of_itq() -> None:
    source = videos()
    features = all_features(source)
    means = features.mean(dim=1).numpy()
    # Where a rotation ends depends on its beginning, and with it on the processor; the usual one does not.
    seeds = range(5)
    itq = np.median(
        [faithfulness(train_itq(means, bits=BITS, seed=one).encode(means), means) for one in seeds]
    )
    first = [faithfulness(started(source, 0.0, one).codes(features).numpy(), means) for one in seeds]
    assert np.median(first) > itq - 0.05
    assert faithfulness(hasher().codes(features).numpy(), means) < itq - 0.1


def test_a_weak_evening_out_is_none() -> None:
    assert [evens_out(shrinkage) for shrinkage in (None, 0.1, 0.3, 1.0, 10.0)] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_whitening_makes_directions_equally_strong() -> None:
    source = videos()
    centred = all_features(source) - all_features(source).mean(dim=(0, 1))
    for whitening, wanted in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        weights = started(source, whitening).embedding.weight.detach()
        strength = (centred.mean(dim=1) @ weights.T).std(dim=0)[:BITS].log()
        plain = (
            (centred.mean(dim=1) @ started(source, 0.0).embedding.weight.detach().T).std(dim=0)[:BITS].log()
        )
        slope = np.polyfit(plain.numpy(), strength.numpy(), 1)[0]
        assert slope == pytest.approx(wanted, abs=0.02)


def test_the_fewer_bits_the_more_whitening() -> None:
    assert [whitening_by_length(bits) for bits in (8, 16, 32, 64, 128)] == [1.0, 1.0, 0.75, 0.5, 0.5]
    source = videos()
    assert BITS <= 16
    by_length, full, none = (started(source, power).state_dict() for power in ("by_length", 1.0, 0.0))
    assert all(torch.equal(by_length[name], full[name]) for name in full)
    assert not torch.equal(by_length["embedding.weight"], none["embedding.weight"])


def test_every_residual_branch_passes_frames_on_and_still_learns() -> None:
    source = videos()
    model = started(source, 0.5)
    embedded = model.embed(model.center(all_features(source)[:4]))
    assert torch.equal(model.encoder(embedded), model.encoder.norm(embedded))
    model(all_features(source)[:4]).square().sum().backward()
    for block in model.encoder.blocks:
        assert block.mlp[-1].weight.grad.abs().sum() > 0
        assert block.attention.project.weight.grad.abs().sum() > 0


def test_the_seed_decides() -> None:
    source = videos()
    first, again, other = (started(source, 0.5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["hash_layer.linear.weight"], other["hash_layer.linear.weight"])


@pytest.mark.parametrize(
    ("count", "width", "bits"), [(2, 48, 24), (17, 48, 24), (120, 20, 24), (120, 20, 200)]
)
def test_more_bits_than_directions_share_them(count: int, width: int, bits: int) -> None:
    model, source = hasher(bits, width), videos(count)
    start_from_itq(model, source, whitening=0.5, within_video=None, seed=1, batch_size=32)
    codes = model.codes(all_features(source)).numpy()
    assert abs(codes.mean(axis=0)).max() < 1, "no bit is dead"
    assert len(np.unique(codes, axis=0)) > min(count, 10) / 2
    if count > 2:
        assert faithfulness(codes, all_features(source).mean(dim=1).numpy()) > 0.4


def test_videos_that_are_all_the_same_have_one_code() -> None:
    same = FrameSource.from_tensor(list("abcde"), torch.ones(5, FRAMES, SIZE))
    model = hasher(24, 48)
    start_from_itq(model, same, whitening=0.5, within_video=None, seed=1, batch_size=32)
    codes = model.codes(torch.ones(5, FRAMES, SIZE))
    assert (codes == codes[0]).all()
