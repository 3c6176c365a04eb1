from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.training.centering import learn_center
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.trainer import Trainer
from tests.ssvh_model.conftest import clustered_features, tiny_config


def test_centred_features_have_mean_0_and_scale_1_whatever_the_batches() -> None:
    features = clustered_features(23) * 3 + 7
    videos = FrameSource.from_tensor([str(row) for row in range(23)], features)
    for batch_size in (5, 100):
        hasher = VideoHasher(tiny_config().hasher)
        torch.testing.assert_close(hasher.center(features.float()), features.float())
        learn_center(hasher, videos, batch_size=batch_size)
        centred = hasher.center(features.float())
        np.testing.assert_allclose(centred.mean(dim=(0, 1)), 0, atol=1e-4)
        np.testing.assert_allclose(centred.square().mean().sqrt(), 1, rtol=1e-4)


def test_constant_features_stay_finite() -> None:
    videos = FrameSource.from_tensor(["a", "b"], torch.full((2, 8, 12), 4.0).half())
    hasher = VideoHasher(tiny_config().hasher)
    learn_center(hasher, videos, batch_size=2)
    assert hasher.center(videos.fetch(np.arange(2)).float()).abs().max() < 1e-3


def test_an_offset_that_all_features_share_does_not_change_training(
    make_trainer: Callable[..., Trainer],
) -> None:
    codes = []
    for offset in (0.0, 16.0):
        features = (
            clustered_features() * 8
        ).round() / 8 + offset  # exact in float16, with and without the offset
        trainer = make_trainer(features=features.half(), feature_dropout=0.0)
        learn_center(trainer.model.hasher, trainer.videos, batch_size=16)
        trainer.train_epoch()
        codes.append(trainer.model.eval().hasher.codes(features.float()))
    assert (codes[0] == codes[1]).float().mean() > 0.99
