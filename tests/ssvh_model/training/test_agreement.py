"""The agreement of clusterings, and the start that is chosen by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score

from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.training.agreement import (
    LEAST_VIDEOS,
    MOST_VIDEOS,
    adjusted_mutual_information,
    cluster_agreement,
    code_agreement,
    some_videos,
)
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.initialization import CANDIDATES, choose_start, start_from_itq
from tests.ssvh_model.conftest import values_hasher

FRAMES, SIZE, KINDS = 8, 48, 8


@pytest.mark.parametrize("counts", [(3, 3), (16, 32), (40, 2), (1, 5), (1, 1)])
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_mutual_information_is_scikit_learn_s(counts: tuple[int, int], noise: float) -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, counts[0], 90)
    second = np.where(rng.random(90) < noise, rng.integers(0, counts[1], 90), first % counts[1])
    assert adjusted_mutual_information(first, second) == pytest.approx(
        adjusted_mutual_info_score(first, second), abs=1e-9
    )


def kinds(videos: int, *, moving: float) -> tuple[FrameSource, np.ndarray]:
    """Videos of some kinds; what moves within each is independent of its kind, and as strong as `moving`."""
    rng = np.random.default_rng(3)
    kind = rng.integers(0, KINDS, videos)
    centres = np.zeros((KINDS, SIZE))
    centres[:, : SIZE // 2] = rng.normal(size=(KINDS, SIZE // 2))
    frames = centres[kind][:, None] + 0.3 * rng.normal(size=(videos, FRAMES, SIZE))
    drift = rng.normal(size=(videos, 1, SIZE // 2)) + rng.normal(size=(videos, FRAMES, SIZE // 2))
    frames[:, :, SIZE // 2 :] += moving * drift
    ids = [str(row) for row in range(videos)]
    return FrameSource.from_tensor(ids, torch.from_numpy(frames).half()), kind


def test_codes_of_kinds_agree_more_than_codes_by_chance() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, KINDS, 300)
    of_kinds = sign_codes(rng.normal(size=(KINDS, 32)))[kind]
    flipped = np.where(rng.random((2, 300, 32)) < 0.05, -of_kinds, of_kinds)
    chance = sign_codes(rng.normal(size=(2, 300, 32)))
    assert abs(cluster_agreement(*chance, seed=0)) < 0.1
    assert cluster_agreement(*flipped, seed=0) > 0.5
    assert cluster_agreement(*flipped, seed=0) == cluster_agreement(*flipped, seed=0)


def test_the_start_that_tells_kinds_apart_is_chosen() -> None:
    """Where what moves within videos is strong and of no kind, it must be evened out; `choose_start` sees so
    without labels.
    """
    source, _ = kinds(240, moving=3.0)
    hasher = values_hasher(feature_size=SIZE, frames=FRAMES, bits=16, width=48, layers=1)
    learn_center(hasher, source, batch_size=64)
    choice = choose_start(hasher, source, CANDIDATES, seed=1, batch_size=64)
    assert choice.within_video is not None
    plain, chosen = (choice.agreement[one] for one in ((0.0, None), (choice.whitening, choice.within_video)))
    assert plain is not None and chosen is not None and chosen > plain + 0.1
    assert chosen == max(value for value in choice.agreement.values() if value is not None)


def test_choosing_without_the_blocks_gives_what_the_whole_network_gives() -> None:
    source, _ = kinds(120, moving=3.0)
    hasher = values_hasher(feature_size=SIZE, frames=FRAMES, bits=16, width=48, layers=2)
    learn_center(hasher, source, batch_size=64)
    whitening, within_video = CANDIDATES[3]
    choice = choose_start(hasher, source, [(whitening, within_video)], seed=1, batch_size=64)
    assert len(hasher.encoder.blocks) == 2
    start_from_itq(hasher, source, whitening=whitening, within_video=within_video, seed=1, batch_size=64)
    device = torch.device("cpu")
    agreement = code_agreement(hasher, source, batch_size=64, device=device, seed=1)
    assert choice.agreement == {(whitening, within_video): agreement}


def test_too_few_videos_start_with_the_first_candidate() -> None:
    source, _ = kinds(LEAST_VIDEOS - 1, moving=3.0)
    hasher = values_hasher(feature_size=SIZE, frames=FRAMES, bits=16, width=48, layers=1)
    choice = choose_start(hasher, source, CANDIDATES, seed=1, batch_size=64)
    assert (choice.whitening, choice.within_video) == CANDIDATES[0]
    assert set(choice.agreement.values()) == {None}
    device = torch.device("cpu")
    assert code_agreement(hasher, source, batch_size=64, device=device, seed=1) is None


@pytest.mark.parametrize("moving", [0.0, 1.0])
def test_videos_that_are_all_the_same_have_a_start(moving: float) -> None:
    frames = torch.from_numpy(np.random.default_rng(0).normal(size=(1, FRAMES, SIZE))).float()
    same = (moving * frames + 1).expand(70, -1, -1).contiguous()
    source = FrameSource.from_tensor([str(row) for row in range(len(same))], same)
    hasher = values_hasher(feature_size=SIZE, frames=FRAMES, bits=16, width=48, layers=1)
    learn_center(hasher, source, batch_size=64)
    choice = choose_start(hasher, source, CANDIDATES, seed=1, batch_size=64)
    assert (choice.whitening, choice.within_video) in CANDIDATES


def test_of_many_videos_some_are_looked_at() -> None:
    many = FrameSource.from_tensor(
        [str(row) for row in range(5 * MOST_VIDEOS)], torch.arange(5 * MOST_VIDEOS)[:, None, None].float()
    )
    some = some_videos(many)
    assert len(some) == MOST_VIDEOS
    np.testing.assert_array_equal(
        some.fetch(np.arange(MOST_VIDEOS)).flatten().numpy(), [float(name) for name in some.ids]
    )
