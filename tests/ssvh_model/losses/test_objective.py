from __future__ import annotations

import pytest
import torch

from ssvh_model.clustering.anchors import make_anchors
from ssvh_model.losses.objective import Objective
from ssvh_model.losses.reconstruction import frame_errors, reconstruction_loss
from ssvh_model.model.autossvh import build_model
from tests.ssvh_model.conftest import clustered_features, tiny_config


def test_reconstruction_counts_hidden_frames_only() -> None:
    features = torch.zeros(2, 4, 3)
    reconstruction = torch.arange(24.0).view(2, 4, 3)
    weights = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    hidden = [(0, 1), (0, 2), (1, 0), (1, 3)]
    naive = sum(float(reconstruction[video, frame].square().mean()) for video, frame in hidden) / len(hidden)
    assert reconstruction_loss(reconstruction, features, weights).item() == pytest.approx(naive)
    assert frame_errors(reconstruction, features).shape == (2, 4)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    config = tiny_config()
    model = build_model(config.hasher, config.decoder, config.sampler, seed=0)
    features = clustered_features(12).float()
    views = model(features, reversal=1.0, generator=torch.Generator().manual_seed(0))
    anchors = make_anchors(
        model.hasher(features),
        [2, 3],
        iterations=5,
        restarts=1,
        points_per_centroid=50,
        mean_concentration=0.2,
        seed=0,
    )
    objective = Objective(alpha=0.3, beta=0.7, temperature=0.5, tau_plus=0.1)
    index = torch.arange(12)
    full = objective(views, features, index, anchors)
    assert full.p2set is not None
    torch.testing.assert_close(
        full.total, full.reconstruction + 0.3 * full.view_contrastive + 0.7 * full.p2set
    )
    assert set(full.named()) == {"loss", "reconstruction", "view_contrastive", "p2set"}
    warmup = objective(views, features, index, [])
    assert warmup.p2set is None
    torch.testing.assert_close(warmup.total, full.total - 0.7 * full.p2set)


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="beta -1"):
        Objective(alpha=0.0, beta=-1, temperature=0.5, tau_plus=0.1)
