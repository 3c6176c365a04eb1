"""Reference values and tiny models for the library's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import DecoderConfig
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.sampler import SamplerConfig
from ssvh_model.training.checkpoint import ModelConfig
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.trainer import Optimization, Trainer
from tests.conftest import REPOSITORY

FRAMES, SIZE, BITS = 8, 12, 16


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny tensors are fastest on one thread, above all while other tests run on the other cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """Inputs and outputs of single formulas; `tests/golden/README.md` says where they come from."""
    with np.load(REPOSITORY / "tests" / "golden" / "reference_values.npz") as values:
        return dict(values)


def tiny_config(kind: str = "adversarial", mask_ratio: float = 0.5) -> ModelConfig:
    return ModelConfig(
        HasherConfig(
            feature_size=SIZE,
            frames=FRAMES,
            bits=BITS,
            width=24,
            layers=2,
            heads=3,
            mlp_ratio=2,
            position_scale=1,
            pooling="votes",
        ),
        DecoderConfig(width=24, layers=1, heads=2),
        SamplerConfig(kind=kind, mask_ratio=mask_ratio, gumbel=1.0, noise=0.1, temperature=1.0),  # type: ignore[arg-type]
    )


def values_hasher(*, feature_size: int, frames: int, bits: int, width: int, layers: int) -> VideoHasher:
    """An untrained hasher as the default parameters have it: pooled by values, frame positions scaled
    down.
    """
    torch.manual_seed(0)
    return VideoHasher(
        HasherConfig(
            feature_size=feature_size,
            frames=frames,
            bits=bits,
            width=width,
            layers=layers,
            heads=2,
            mlp_ratio=2,
            position_scale=0.1,
            pooling="values",
        )
    )


def clustered_features(videos: int = 40, classes: int = 4, seed: int = 0) -> Tensor:
    """Features [videos, FRAMES, SIZE] float16 of `classes` kinds, video i of kind i % classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, 1, SIZE)) * 2
    noise = rng.normal(size=(videos, FRAMES, SIZE)) * 0.5
    return torch.from_numpy((centres[np.arange(videos) % classes] + noise).astype(np.float16))


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """A trainer of the tiny model on clustered features."""

    def make(
        kind: str = "adversarial",
        features: Tensor | None = None,
        seed: int = 3,
        feature_dropout: float = 0.1,
        code_noise: float = 0.0,
        device: str = "cpu",
        learning_rate: float = 1e-3,
    ) -> Trainer:
        from ssvh_model.model.autossvh import build_model

        features = clustered_features() if features is None else features
        config = tiny_config(kind)
        return Trainer(
            build_model(config.hasher, config.decoder, config.sampler, seed=seed),
            FrameSource.from_tensor([f"video-{row}" for row in range(len(features))], features),
            objective=Objective(
                reconstruction=1.0, alpha=0.5, beta=0.2, temperature=0.5, tau_plus=0.1, negatives="all"
            ),
            optimization=Optimization(
                batch_size=16,
                learning_rate=learning_rate,
                learning_rate_floor=1e-6,
                step_epochs=2,
                step_factor=0.9,
                feature_dropout=feature_dropout,
                code_noise=code_noise,
                reversal=1.0,
                reversal_ramp=2,
                precision="float32",
            ),
            seed=seed,
            device=torch.device(device),
        )

    return make
