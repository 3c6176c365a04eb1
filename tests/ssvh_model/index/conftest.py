"""Small indexes of made-up codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
from ssvh_model.index.index_folder import IndexSettings
from ssvh_model.model.hasher_file import hasher_digest
from tests.hashers import write_hasher

EXACT = IndexSettings(exact_up_to=10**6, cells=8, probes=4)


@pytest.fixture(scope="session")
def hasher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a hasher of 16 bits."""
    return write_hasher(tmp_path_factory.mktemp("hasher"))


@pytest.fixture(scope="session")
def other_hasher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hasher(tmp_path_factory.mktemp("other"), seed=2)


@pytest.fixture
def coded(hasher: Path) -> Callable[..., CodedVideos]:
    """Videos with random codes."""

    def make(
        count: int, *, seed: int = 0, by: Path = hasher, prefix: str = "video", bits: int = 16
    ) -> CodedVideos:
        rng = np.random.default_rng(seed)
        ids = [f"{prefix}-{number}" for number in range(count)]
        return CodedVideos(
            ids=ids,
            codes=rng.integers(0, 256, (count, bits // 8), dtype=np.uint8),
            labels=[f"label {number % 3}" for number in range(count)],
            paths=[f"videos/{video}.mp4" for video in ids],
            durations=np.arange(count, dtype=np.float32),
            spans=whole_spans(np.arange(count)),
            bits=bits,
            hasher=HasherIdentity("video-hasher", "1", hasher_digest(by)),
            source="data/features/features.h5",
        )

    return make
