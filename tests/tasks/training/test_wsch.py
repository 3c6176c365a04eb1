"""The preset `wsch`, from the parameters to states and their codes: the same seed, a stop in the middle,
bfloat16.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvh_model.features import FeatureFile
from ssvh_model.model.hasher_file import load_saved_hasher, save_hasher
from ssvh_model.training.checkpoint import WEIGHTS, load_hasher, load_history
from ssvh_model.training.initialization import start_from_itq
from tasks.params.load import load_params
from tasks.params.presets import apply_presets
from tasks.promotion.unlabelled import UnlabelledVideos
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

SMALL = {
    "running.device": "cpu",
    "model.width": 24,
    "model.decoder_width": 16,
    "sampler.mask_ratio": 0.5,
    "training.batch_size": 16,
    "warmup.epochs": 2,
    "rounds": {"1": {"after": "warmup", "clusters": [5], "epochs": 3, "refresh_every": 1}},
}


class StopsError(Exception):
    pass


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureFile:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPOSITORY / "presets", tmp_path / "presets")
    return FeatureFile(write_tiny_features(tmp_path / "features.h5"))


def train(file: FeatureFile, folder: Path, stop_at: int | None = None, **changes: Any) -> Path:
    """The last state, or an error after the epoch `stop_at`."""
    write_tiny_params(Path("params.yaml"))
    apply_presets(["wsch"], changes={**SMALL, **changes})
    params = load_params()
    session = training_session(params, file)

    def on_epoch(row: dict[str, Any], seconds: float) -> None:
        if seconds and row["epoch"] == stop_at:
            raise StopsError

    warm = train_warmup(session, params, folder / "warmup", on_epoch)
    return train_rounds(session, params, warm, folder, on_epoch)


def test_a_training_that_was_stopped_ends_with_the_weights_of_one_that_was_not(file: FeatureFile) -> None:
    whole = train(file, Path("whole"))
    for stop_at in (1, 4):
        with pytest.raises(StopsError):
            train(file, Path("stopped"), stop_at)
    assert (train(file, Path("stopped")) / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()

    warmup, later = load_history(whole)[:2], load_history(whole)[2:]
    assert all(row["loss"] == row["reconstruction"] and row["view_contrastive"] > 0 for row in warmup)
    # The mean over a pass with clusters and one with the contrast.
    for row in later:
        halves = row["reconstruction"] + (0.02 * row["p2set"] + row["view_contrastive"]) / 2
        assert row["loss"] == pytest.approx(halves, rel=0.05)


def test_a_corpus_without_labels_judges_its_codes_by_a_start_from_itq(file: FeatureFile) -> None:
    """The gate's reference is a transformer's start, for a state-space encoder has none from ITQ."""
    hasher = load_hasher(train(file, Path("states")))
    videos = UnlabelledVideos(load_params(), file)
    assert videos.score(videos.codes(hasher)) > 0 and videos.score_of_itq(16) > 0
    with pytest.raises(ValueError, match="a start from ITQ needs a transformer; the encoder is state_space"):
        start_from_itq(
            hasher,
            training_session(load_params(), file).videos,
            whitening=0.0,
            within_video=None,
            seed=1,
            batch_size=16,
        )


def test_in_bfloat16_codes_are_made_as_they_were_trained(file: FeatureFile) -> None:
    hasher = load_hasher(train(file, Path("states"), **{"training.precision": "bfloat16"}))
    save_hasher(Path("saved"), hasher, file.meta)
    served, _ = load_saved_hasher(Path("saved"))
    assert (served.config.precision, served.config.encoder) == ("bfloat16", "state_space")
    features = file.read(np.arange(30)).float()
    with torch.no_grad():
        assert torch.equal(served(features), hasher(features))
    # Five kinds of videos, and codes of one kind are alike.
    codes = served.codes(features).float()
    distances, same = codes @ codes.T, (torch.arange(30)[:, None] - torch.arange(30)) % 5 == 0
    assert distances[same].mean() > distances[~same].mean() + 1
