"""How the frames of a video make its code."""

from __future__ import annotations

from dataclasses import replace

import torch

from ssvh_model.model.hasher import VideoHasher
from tests.ssvh_model.conftest import clustered_features, tiny_config


def hashers() -> tuple[VideoHasher, VideoHasher]:
    """One hasher that pools by votes, and the same by values."""
    config = tiny_config().hasher
    torch.manual_seed(0)
    votes = VideoHasher(replace(config, pooling="votes"))
    values = VideoHasher(replace(config, pooling="values"))
    values.load_state_dict(votes.state_dict())
    return votes.eval(), values.eval()


def test_votes_and_values_against_a_loop_over_frames() -> None:
    features = clustered_features(12).float()
    votes, values = hashers()
    encoded = votes.encoder(votes.embed(votes.center(features)))
    for video in range(len(features)):
        frames = [
            votes.hash_layer.norm(votes.hash_layer.linear(encoded[video, frame]))
            for frame in range(features.shape[1])
        ]
        signs = [torch.where(frame >= 0, 1.0, -1.0) for frame in frames]
        assert torch.allclose(votes(features)[video], torch.stack(signs).mean(dim=0), atol=1e-6)
        assert torch.allclose(values(features)[video], torch.stack(frames).mean(dim=0), atol=1e-5)


def test_the_two_are_not_the_same_and_both_make_codes() -> None:
    features = clustered_features(40).float()
    votes, values = (hasher.codes(features) for hasher in hashers())
    assert set(values.unique().tolist()) == {-1, 1}
    agreement = (votes == values).float().mean()
    assert 0.7 < agreement < 1
