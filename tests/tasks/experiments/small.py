"""A corpus and parameters so small that a training takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from ssvh_model.features import FeatureMeta, write_feature_file
from tests.conftest import REPOSITORY

FRAMES, SIZE = 6, 24
TINY: dict[str, Any] = {
    "running.checkpoint_every": 1,
    "model.bits": 16,
    "model.width": 24,
    "model.layers": 1,
    "model.heads": 2,
    "model.decoder_layers": 1,
    "model.decoder_width": 16,
    "model.decoder_heads": 2,
    "training.batch_size": 16,
    "training.validate_every": 1,
    "warmup.epochs": 2,
    "rounds": {
        "1": {"after": "warmup", "clusters": [3, 5], "epochs": 2, "refresh_every": 1},
        "2": {"after": "round-1", "clusters": [4], "epochs": 1, "refresh_every": 1},
    },
    "clustering.restarts": 1,
    "ablation.resamples": 200,
    "sensitivity.values": {"sampler.noise": [1.0]},
    "sensitivity.grid": {},
}


def write_tiny_params(path: Path, **changes: Any) -> None:
    """The shipped params.yaml with `TINY` and other changes; dots in the keys are written as two
    underscores.
    """
    yaml = YAML()
    content = yaml.load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    for key, value in {**TINY, **{key.replace("__", "."): value for key, value in changes.items()}}.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[last] = value
    with open(path, "w", encoding="utf-8") as file:
        yaml.dump(content, file)


def features(videos: int = 100, seed: int = 0, frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """Features [videos, frames, size] of five kinds, video i of kind i % 5."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, 1, size))
    return centres[np.arange(videos) % 5] + rng.normal(size=(videos, frames, size))


def write_tiny_features(path: Path, **shape: int) -> Path:
    """60 training videos, 20 for validation, 20 queries."""
    values = features(**shape)
    write_feature_file(
        path,
        values,
        ids=[f"video {row}" for row in range(100)],
        labels=[(f"kind {row % 5}",) for row in range(100)],
        splits=["train"] * 60 + ["validation"] * 20 + ["query"] * 20,
        meta=FeatureMeta("none", "", 1),
    )
    return path
