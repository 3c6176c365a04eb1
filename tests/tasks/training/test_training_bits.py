"""Training with longer codes than are asked for, from the parameters to the states and their codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ssvh_model.features import FeatureFile
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.checkpoint import load_hasher
from ssvh_model.training.compressing import training_bits_by_length
from ssvh_model.training.session import TrainingSession
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import hasher_config, training_session
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params


def session(bits: int) -> tuple[TrainingSession, Params]:
    write_tiny_params(Path("params.yaml"), model__bits=bits, model__training_bits=24, running__device="cpu")
    params = load_params()
    return training_session(params, FeatureFile(Path("features.h5"))), params


def test_states_make_short_codes_and_clusters_are_of_the_long_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_features(tmp_path / "features.h5")
    rows: dict[int, list[float]] = {}
    for bits in (16, 8):
        training, params = session(bits)
        seen: list[float] = []
        rows[bits] = seen
        warm = train_warmup(training, params, Path(f"{bits}/warmup"), lambda row, seconds: None)
        last = train_rounds(
            training, params, warm, Path(f"{bits}"), lambda row, seconds, seen=seen: seen.append(row["loss"])
        )
        hasher = load_hasher(last)
        (clusters,) = training.cluster(hasher, (4,))
        assert clusters.anchors.shape == (4, 24)
        features = training.videos.fetch(np.arange(60)).float()
        assert hasher.codes(features).shape == (60, bits)
        # The compression in the state is that of the state's own weights.
        with torch.no_grad():
            wanted = train_itq(hasher.trained_codes(features).numpy(), bits=bits, seed=params.seed)
        assert hasher.compression is not None
        np.testing.assert_allclose(hasher.compression.projection.numpy(), wanted.projection, atol=1e-3)
        np.testing.assert_allclose(hasher.compression.mean.numpy(), wanted.mean, atol=1e-4)
    assert rows[16] == rows[8], "training does not know how short its codes will be"


def test_params_yaml_goes_by_length() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert params.model.training_bits == "by_length"
    assert hasher_config(params, frames=25, feature_size=1280).training_bits == 2 * params.model.bits


def test_by_length_is_the_library_s_rule(tmp_path: Path) -> None:
    for bits in (16, 32):
        write_tiny_params(tmp_path / "params.yaml", model__bits=bits, model__training_bits="by_length")
        config = hasher_config(load_params(tmp_path / "params.yaml"), frames=6, feature_size=24)
        assert (config.bits, config.training_bits) == (bits, training_bits_by_length(bits))


def test_fewer_videos_than_bits_are_compressed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(Path("params.yaml"), model__bits=64, model__training_bits=64, model__width=80)
    params = load_params()
    session = training_session(params, FeatureFile(Path("features.h5")))
    state = train_warmup(session, params, Path("warmup"), lambda row, seconds: None)
    codes = load_hasher(state).codes(session.videos.fetch(np.arange(60)).float()).numpy()
    assert codes.shape == (60, 64) and abs(codes.mean(axis=0)).max() < 1
