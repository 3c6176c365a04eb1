from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.compressing import learn_compression, training_bits_by_length
from tests.ssvh_model.conftest import BITS, clustered_features, tiny_config

LONGER = 24


def untrained(training_bits: int | None = LONGER) -> VideoHasher:
    torch.manual_seed(0)
    config = replace(tiny_config().hasher, bits=BITS, pooling="values", training_bits=training_bits)
    return VideoHasher(config).eval()


def nearest_of_same_kind(codes: Tensor, kinds: np.ndarray) -> float:
    """Share of videos whose nearest other one by Hamming distance is of the same kind, ties shared out."""
    likeness = (codes.float() @ codes.float().T).numpy() - 1000 * np.eye(len(codes))
    nearest = likeness == likeness.max(axis=1, keepdims=True)
    same = kinds[:, None] == kinds[None]
    return float(((nearest & same).sum(axis=1) / nearest.sum(axis=1)).mean())


def test_codes_are_itq_of_what_was_trained() -> None:
    features = clustered_features(60).float()
    hasher = untrained()
    with torch.no_grad():
        trained = hasher.trained_codes(features)
    learn_compression(hasher, trained[:40], seed=3)
    assert trained.shape == (60, LONGER) and torch.equal(hasher.trained_codes(features), trained)
    itq = train_itq(trained[:40].numpy(), bits=BITS, seed=3)
    wanted = sign_codes((trained.double().numpy() - itq.mean) @ itq.projection)
    soft = hasher(features).detach()
    certain = soft.abs() > 1e-4
    assert soft.shape == (60, BITS) and certain.float().mean() > 0.99
    np.testing.assert_array_equal(hasher.codes(features)[certain].numpy(), wanted[certain.numpy()])


def test_what_videos_share_is_kept_and_what_single_ones_have_is_dropped() -> None:
    rng = np.random.default_rng(0)
    kinds = np.arange(300) % 12
    shared = rng.normal(size=(12, 4)) @ rng.normal(size=(4, LONGER))
    values = torch.from_numpy(shared[kinds] + rng.normal(size=(300, LONGER))).float()
    hasher = untrained()
    assert hasher.compression is not None
    before = hasher.compression(values)
    learn_compression(hasher, values, seed=1)
    after = hasher.compression(values)
    first, compressed = (
        nearest_of_same_kind(torch.where(soft >= 0, 1, -1), kinds) for soft in (before, after)
    )
    assert compressed > first + 0.1


def test_training_bits_by_length() -> None:
    lengths = {bits: training_bits_by_length(bits) for bits in (8, 16, 24, 32, 64, 128)}
    assert lengths == {8: None, 16: None, 24: 48, 32: 64, 64: 128, 128: 256}


def test_without_longer_codes_there_is_nothing_to_compress() -> None:
    hasher = untrained(None)
    assert not [name for name in hasher.state_dict() if "compression" in name]
    features = clustered_features(8).float()
    assert torch.equal(hasher(features), hasher.trained_codes(features))
    with pytest.raises(ValueError, match="training_bits is None"):
        learn_compression(hasher, torch.zeros(40, BITS), seed=1)
