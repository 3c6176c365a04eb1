"""Untrained hashers in folders and in a registry, for tests that only need codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ssvh_model.features import FeatureMeta
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.hasher_file import hasher_digest, save_hasher
from tasks.records.tags import HASH_TAG
from tasks.registry.find_hasher import PLACE_IN_MODEL

META = FeatureMeta("efficientnet_lite0", "00ff", 64)


def write_hasher(
    folder: Path,
    *,
    seed: int = 1,
    bits: int = 16,
    frames: int = 4,
    feature_size: int = 6,
    meta: FeatureMeta = META,
) -> Path:
    """A hasher with random weights in `folder`."""
    torch.manual_seed(seed)
    config = HasherConfig(
        feature_size=feature_size,
        frames=frames,
        bits=bits,
        width=12,
        layers=1,
        heads=2,
        mlp_ratio=2.0,
        position_scale=1.0,
        pooling="values",
    )
    save_hasher(folder, VideoHasher(config), meta)
    return folder


def register_hasher(client: Any, root: Path, name: str = "video-hasher", **settings: Any) -> str:
    """A new version of a model, its files under `root`; the version's number."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    number = len(client.search_model_versions(f"name = '{name}'")) + 1
    folder = write_hasher(root / f"{name}-{number}" / PLACE_IN_MODEL, seed=number, **settings)
    tags = {HASH_TAG: hasher_digest(folder)}
    return str(client.create_model_version(name, str(root / f"{name}-{number}"), tags=tags).version)
