"""Features that an index keeps, in a file for each film and each addition; there may be thousands."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.features import FeatureMeta, write_feature_file
from ssvh_model.index.coded_videos import CodedVideos
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.settings import IndexSettings
from ssvh_model.index.stored_features import FILES_OPEN, StoredFeatures
from ssvh_model.moments.film_features import FilmFacts, write_film_features

META = FeatureMeta("efficientnet_lite0", "00ff", 64)
FRAMES, SIZE, SECONDS = 4, 6, 5.0
FILMS = WHOLE = FILES_OPEN  # together twice as many as are kept open


def film(path: Path, name: str, value: float) -> Path:
    frames = np.full((20, SIZE), value, dtype=np.float16)
    spans = np.array([[0.0, 2.5], [2.5, SECONDS]])
    facts = FilmFacts(name, "00", META, FRAMES, SECONDS / len(frames), SECONDS, spans)
    write_film_features(path, [frames], lambda: facts)
    return path


def whole(path: Path, name: str, value: float) -> Path:
    write_feature_file(
        path,
        features=np.full((1, FRAMES, SIZE), value, dtype=np.float16),
        ids=[name],
        labels=[()],
        fine_labels=[()],
        splits=["database"],
        groups=[""],
        meta=META,
        frame_indices=np.arange(FRAMES)[None],
    )
    return path


@pytest.fixture
def few_files() -> Iterator[None]:
    """As many files may be opened as are kept open, and some."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + FILES_OPEN + WHOLE // 2, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_index_has_features_in_more_files_than_may_be_open(
    tmp_path: Path, coded: Callable[..., CodedVideos], hasher: Path, few_files: None
) -> None:
    index = IndexFolder(tmp_path / "index")
    with index.alone():
        index.replace(
            replace(coded(FILMS + WHOLE + 1), source=""), hasher, IndexSettings(10**6, 8, 4), seed=1
        )
    snapshot = index.snapshot(loaded=True)
    names = snapshot.ids()
    kept = [film(tmp_path / f"{row}.h5", names[row], row) for row in range(FILMS)]
    kept += [whole(tmp_path / f"{row}.h5", names[row], row) for row in range(FILMS, FILMS + WHOLE)]
    kept.append(whole(tmp_path / "again.h5", names[0], 1000))  # added once more, as a whole
    stored = StoredFeatures(kept, snapshot, META, (FRAMES, SIZE))
    for row in range(FILMS + WHOLE):
        found = stored.of(row, 0.0, 2.0)
        assert found is not None and found.whole == (row in (0, *range(FILMS, FILMS + WHOLE)))
        assert (found.features == (row or 1000)).all()
    assert stored.of(FILMS + WHOLE, 0.0, 2.0) is None

    kept[1].unlink()  # by whoever has put another version in this one's place
    assert stored.of(1, 0.0, 2.0) is None
