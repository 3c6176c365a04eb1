"""Clusterings within a round go on from one another, also after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ssvh_model.clustering.anchors import Granularity
from ssvh_model.features import FeatureFile
from ssvh_model.training.checkpoint import load_hasher, load_weights, restore_trainer
from tasks.params.load import load_params
from tasks.training.both_phases import train_warmup
from tasks.training.phase import run_phase
from tasks.training.settings import training_session
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

COUNTS = (3, 5)


class Stopped(Exception):
    """Stands for a killed run."""


def test_a_round_that_was_stopped_clusters_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_params(Path("params.yaml"), running__device="cpu")
    params = load_params()
    session = training_session(params, FeatureFile(write_tiny_features(tmp_path / "features.h5")))
    warm = train_warmup(session, params, Path("warmup"), lambda row, seconds: None)
    # Numbered in another order than chance would: clusters that begin anew are told from those that go on.
    anchors = [
        Granularity(
            made.anchors.flip(0),
            len(made.anchors) - 1 - made.assignments,
            made.concentration.flip(0),
        )
        for made in session.cluster(load_hasher(warm), COUNTS)
    ]

    def train(folder: str, epochs: int = 3, stop_after: int | None = None) -> Path:
        def on_epoch(row: dict[str, Any], seconds: float) -> None:
            if seconds and row["epoch"] == stop_after:
                raise Stopped

        return run_phase(
            session,
            params,
            "round-1",
            epochs=epochs,
            start=warm,
            anchors=anchors,
            counts=COUNTS,
            checkpoints=Path(folder),
            on_epoch=on_epoch,
        )

    def clusters(state: Path) -> list[Granularity]:
        trainer = session.trainer()
        restore_trainer(state, trainer)
        return trainer.granularities

    states = [train("one", epochs=1), train("two", epochs=2)]
    made = clusters(states[1])
    hasher = load_hasher(states[0])
    expected = session.cluster(hasher, COUNTS, last=clusters(states[0]))
    anew = session.cluster(hasher, COUNTS)
    for found, same, other in zip(made, expected, anew, strict=True):
        assert torch.equal(found.assignments, same.assignments) and torch.equal(found.anchors, same.anchors)
        assert not torch.equal(found.assignments, other.assignments)

    undisturbed = load_weights(train("undisturbed"))
    with pytest.raises(Stopped):
        train("stopped", stop_after=4)
    for name, weight in load_weights(train("stopped")).items():
        assert torch.equal(weight, undisturbed[name]), name
