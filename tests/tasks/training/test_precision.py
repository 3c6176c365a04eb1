"""`training.precision`, from the parameters to the hasher that goes into service."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvh_model.features import FeatureFile
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.model.hasher_file import load_saved_hasher, save_hasher
from ssvh_model.model.precision import best_precision
from ssvh_model.training.checkpoint import load_hasher
from tasks.params.load import load_params
from tasks.training.both_phases import train_warmup
from tasks.training.settings import training_session, training_settings
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params


def test_a_hasher_makes_its_codes_in_the_precision_that_it_was_trained_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(Path("params.yaml"), training__precision="bfloat16", running__device="cpu")
    file, params = FeatureFile(Path("features.h5")), load_params()
    session = training_session(params, file)
    hasher = load_hasher(train_warmup(session, params, Path("warmup"), lambda row, seconds: None))
    save_hasher(Path("saved"), hasher, file.meta)
    served, _ = load_saved_hasher(Path("saved"))
    assert served.config.precision == hasher.config.precision == "bfloat16"

    features = session.videos.fetch(np.arange(20)).float()
    plain = VideoHasher(replace(hasher.config, precision="float32")).eval()
    plain.load_state_dict(hasher.state_dict())
    with torch.no_grad():
        assert torch.equal(served(features), hasher(features))
        assert not torch.equal(served(features), plain(features))
        torch.testing.assert_close(served(features), plain(features), atol=0.1, rtol=0)


@pytest.mark.parametrize("asked", ["auto", "float32"])
def test_auto_is_settled_once_for_training_and_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(Path("params.yaml"), training__precision=asked)
    cpu = torch.device("cpu")
    settings = training_settings(load_params(), FeatureFile(Path("features.h5")), cpu)
    wanted = best_precision(cpu) if asked == "auto" else "float32"
    assert settings.model.hasher.precision == settings.optimization.precision == wanted
