from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvh_model.clustering.anchors import make_anchors
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.trainer import NonFiniteLossError, Optimization, Trainer
from tests.ssvh_model.conftest import clustered_features

CPU = torch.device("cpu")
MakeTrainer = Callable[..., Trainer]


@pytest.mark.parametrize("kind", ["random", "cooperative", "adversarial"])
def test_training_lowers_the_loss_and_tells_kinds_apart(make_trainer: MakeTrainer, kind: str) -> None:
    trainer = make_trainer(kind)
    losses = [trainer.train_epoch()["loss"] for _ in range(25)]
    assert losses[-1] < 0.8 * losses[0]
    soft = encode(trainer.model.hasher, trainer.videos, batch_size=16, device=CPU)
    similarity = torch.nn.functional.normalize(soft) @ torch.nn.functional.normalize(soft).T
    same = torch.arange(40)[:, None] % 4 == torch.arange(40) % 4
    assert similarity[same].mean() > similarity[~same].mean() + 0.4


def test_the_same_seed_gives_the_same_weights(make_trainer: MakeTrainer) -> None:
    first, second, other = make_trainer(), make_trainer(), make_trainer(seed=4)
    for trainer in (first, second, other):
        torch.manual_seed(np.random.default_rng().integers(1 << 30))  # torch's global state must not matter
        trainer.train_epoch()
    weights = first.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in second.model.state_dict().items())
    assert any(not torch.equal(weights[name], value) for name, value in other.model.state_dict().items())


def test_bfloat16_trains_as_well_and_the_same_seed_gives_the_same_weights(make_trainer: MakeTrainer) -> None:
    def in_bfloat16() -> Trainer:
        trainer = make_trainer()
        trainer.optimization = replace(trainer.optimization, precision="bfloat16")
        return trainer

    exact, first, second = make_trainer(), in_bfloat16(), in_bfloat16()
    last = [[trainer.train_epoch()["loss"] for _ in range(20)][-1] for trainer in (exact, first, second)]
    assert last[1] == pytest.approx(last[0], rel=0.1)
    weights = first.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in second.model.state_dict().items())
    assert all(value.dtype == torch.float32 for value in weights.values())
    moments = [one for one in first.optimizer.moments if one is not None]
    assert moments and all(one.mean.dtype == one.square.dtype == torch.float32 for one in moments)


def test_training_with_code_noise_ends_with_surer_bits(make_trainer: MakeTrainer) -> None:
    def sureness(code_noise: float) -> float:
        trainer = make_trainer(code_noise=code_noise)
        for _ in range(25):
            trainer.train_epoch()
        features = trainer.videos.fetch(np.arange(len(trainer.videos))).float()
        with torch.no_grad():
            hasher = trainer.model.hasher.eval()
            values = hasher.hash_layer.values(hasher.encoder(hasher.embed(hasher.center(features))))
        return float(values.mean(dim=1).abs().mean())

    assert sureness(1.0) > 1.02 * sureness(0.0)


@pytest.mark.parametrize(("videos", "batch_size"), [(33, 16), (32, 16), (5, 4), (2, 128), (17, 8)])
def test_every_video_is_seen_once_an_epoch_and_never_alone(
    make_trainer: MakeTrainer, videos: int, batch_size: int
) -> None:
    trainer = make_trainer(features=clustered_features(videos))
    trainer.optimization = Optimization(**{**trainer.optimization.__dict__, "batch_size": batch_size})
    batches = trainer._batches()
    assert sorted(np.concatenate(batches)) == list(range(videos))
    assert all(2 <= len(batch) <= max(batch_size, 3) for batch in batches)


def test_learning_rate_steps_down_to_its_floor() -> None:
    optimization = Optimization(
        batch_size=1, learning_rate=1e-4, learning_rate_floor=5e-5, step_epochs=20, step_factor=0.9,
        feature_dropout=0, code_noise=0, reversal=2.0, reversal_ramp=4, precision="float32",
    )  # fmt: skip
    assert [optimization.learning_rate_at(epoch) for epoch in (0, 19, 20, 40, 400)] == pytest.approx(
        [1e-4, 1e-4, 9e-5, 8.1e-5, 5e-5]
    )
    assert [optimization.reversal_at(epoch) for epoch in (0, 1, 4, 9)] == [0, 0.5, 2, 2]


def test_a_loss_that_is_not_finite_stops_with_step_term_and_ids(make_trainer: MakeTrainer) -> None:
    features = clustered_features()
    features[7] = float("nan")
    trainer = make_trainer(features=features)
    with pytest.raises(
        NonFiniteLossError, match=r"step \d+: the loss term 'reconstruction' is nan.*video-7\b"
    ):
        trainer.train_epoch()


def test_p2set_pulls_videos_to_their_anchors(make_trainer: MakeTrainer) -> None:
    def distance_to_anchors(beta: float) -> float:
        trainer = make_trainer(learning_rate=3e-3)
        trainer.objective = replace(trainer.objective, alpha=0.0, beta=beta)
        soft = encode(trainer.model.hasher, trainer.videos, batch_size=16, device=CPU)
        anchors = make_anchors(
            soft,
            [4],
            iterations=20,
            restarts=1,
            points_per_centroid=100,
            mean_concentration=0.2,
            centres="voting",
            seed=0,
        )
        trainer.granularities = anchors
        for _ in range(25):
            trainer.train_epoch()
        soft = encode(trainer.model.hasher, trainer.videos, batch_size=16, device=CPU)
        return float((soft - anchors[0].anchors[anchors[0].assignments]).abs().mean())

    assert distance_to_anchors(1.0) < 0.7 * distance_to_anchors(0.0)


def test_features_streamed_from_the_file_equal_features_in_memory(tmp_path: Path) -> None:
    features = clustered_features(20)
    path = tmp_path / "features.h5"
    write_feature_file(
        path,
        features.numpy(),
        ids=[str(row) for row in range(20)],
        labels=[()] * 20,
        splits=["train"] * 15 + ["query"] * 5,
        meta=FeatureMeta("none", "", 0),
    )
    file = FeatureFile(path)
    rows = file.rows("train")
    held = FrameSource.from_file(file, rows, memory_limit=1e9)
    streamed = FrameSource.from_file(file, rows, memory_limit=0)
    for index in (np.array([3, 1, 1, 14]), np.arange(15), np.array([], dtype=np.int64)):
        assert torch.equal(held.fetch(index), streamed.fetch(index))
        assert torch.equal(held.fetch(index), features[:15][torch.from_numpy(index)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and this machine has none")
@pytest.mark.parametrize("kind", ["random", "adversarial"])
def test_one_gpu_trains_as_well_as_the_cpu(make_trainer: MakeTrainer, kind: str) -> None:
    on_gpu, on_cpu = make_trainer(kind, device="cuda"), make_trainer(kind)
    last = [[trainer.train_epoch()["loss"] for _ in range(20)][-1] for trainer in (on_gpu, on_cpu)]
    assert last[0] == pytest.approx(last[1], rel=0.15)
    codes = encode(on_gpu.model.hasher, on_gpu.videos, batch_size=16, device=torch.device("cuda"))
    assert codes.device.type == "cpu"
    again = encode(on_gpu.model.hasher.cpu(), on_gpu.videos, batch_size=16, device=CPU)
    assert (torch.sign(codes) == torch.sign(again)).float().mean() > 0.97
