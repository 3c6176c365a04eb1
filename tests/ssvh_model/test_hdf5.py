"""Files that lie about themselves: no memory is asked for, nothing is executed, nothing outside is read."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.hdf5 import checked_data_set
from ssvh_model.index.coded_videos import CodedVideos, CodesFile, HasherIdentity, write_coded_videos
from tests.conftest import REPOSITORY

HUGE = 10**13


def features(path: Path) -> None:
    write_feature_file(
        path,
        np.zeros((3, 2, 4)),
        ids=["a", "b", "c"],
        labels=[()] * 3,
        splits=["train"] * 3,
        meta=FeatureMeta("net", "00", 64),
    )


def codes(path: Path) -> None:
    ids = ["a", "b", "c"]
    write_coded_videos(
        path,
        CodedVideos(
            ids,
            np.zeros((3, 2), np.uint8),
            ids,
            ids,
            np.zeros(3, np.float32),
            np.zeros((3, 2), np.float32),
            16,
            HasherIdentity("m", "1", "00"),
        ),
    )


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any], str]] = {
    "features": (features, FeatureFile, "features"),
    "codes": (codes, CodesFile, "codes"),
}


class Executes:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def claimed(data: str, **how: Any) -> Callable[[h5py.File], None]:
    """The data set says that it is huge; there is nothing in it."""

    def change(file: h5py.File) -> None:
        shape, dtype = file[data].shape, file[data].dtype
        del file[data]
        file.create_dataset(data, (HUGE, *shape[1:]), dtype=dtype, chunks=(1, *shape[1:]), **how)

    return change


WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.index.coded_videos import CodesFile

resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
for name in sys.argv[1:]:
    try:
        (FeatureFile if "features" in Path(name).name else CodesFile)(Path(name))
    except UserError as error:
        print(error)
"""


def test_absurd_sizes_ask_for_no_memory(tmp_path: Path) -> None:
    paths = []
    for kind, (write, _, _) in KINDS.items():
        for how in ({}, {"compression": "gzip"}):
            path = tmp_path / f"{kind}-{len(paths)}.h5"
            write(path)
            with h5py.File(path, "a") as file:
                for name in list(file):
                    claimed(name, **how)(file)
            paths.append(path)
    result = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_MEMORY, *map(str, paths)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(paths) == 4
    assert all("more than the" in line and "it is damaged" in line for line in lines), lines


@pytest.mark.parametrize("kind", KINDS)
def test_no_truncated_file_is_read_as_if_it_were_whole(tmp_path: Path, kind: str) -> None:
    write, read, _ = KINDS[kind]
    whole, path = tmp_path / "whole.h5", tmp_path / "part.h5"
    write(whole)
    content = whole.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="not a readable HDF5 file"):
            read(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_disguise_is_not_unpickled(tmp_path: Path, kind: str) -> None:
    write, read, data = KINDS[kind]
    mark = tmp_path / "executed"
    payload = pickle.dumps(Executes(mark))
    pickle.loads(payload)
    assert mark.exists(), "it would leave its mark"
    mark.unlink()
    path = tmp_path / "file.h5"
    path.write_bytes(payload)
    with pytest.raises(UserError):
        read(path)
    write(path)
    with h5py.File(path, "a") as file:
        del file[data]
        file[data] = np.void(payload)
    with pytest.raises(UserError):
        read(path)
    assert not mark.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_not_taken_from_other_files(tmp_path: Path, kind: str) -> None:
    write, read, _ = KINDS[kind]
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 4096)
    other = tmp_path / "other.h5"
    write(other)
    for change in (
        lambda file, shape, dtype: file.create_dataset(
            "ids", shape, dtype="S8", external=[(str(secret), 0, 24)]
        ),
        lambda file, shape, dtype: file.__setitem__("ids", h5py.ExternalLink(str(other), "ids")),
        lambda file, shape, dtype: file.__setitem__("ids", h5py.SoftLink("/labels")),
    ):
        path = tmp_path / "file.h5"
        write(path)
        with h5py.File(path, "a") as file:
            shape, dtype = file["ids"].shape, file["ids"].dtype
            del file["ids"]
            change(file, shape, dtype)
        with pytest.raises(UserError, match=r"in other files|points to another place"):
            read(path)


def test_a_compressed_data_set_is_no_lie(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("zeros", data=np.zeros(10**6), compression="gzip")
    with h5py.File(path) as file:
        assert checked_data_set(file, "zeros")[:].sum() == 0


def test_a_link_to_a_pipe_is_refused_and_nobody_waits_at_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, key in (("labels.mat", "labels"), ("feats.h5", "feats")):
        with h5py.File(tmp_path / name, "w") as file:
            file[key] = h5py.ExternalLink(str(tmp_path / "pipe"), f"/{key}")
    script = """
from pathlib import Path
from ssvh_model.corpus.mat_labels import read_mat_labels
from ssvh_model.corpus.published.sources import feature_shape
from ssvh_model.errors import UserError
for read in (
    lambda: read_mat_labels(Path("labels.mat"), "labels", videos=3, features=Path("feats.h5")),
    lambda: feature_shape(Path("feats.h5")),
):
    try:
        read()
    except UserError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.count("points to another place") == 2, done.stderr


def test_attributes_that_are_no_utf_8_can_be_written_again(tmp_path: Path) -> None:
    codes(tmp_path / "codes.h5")
    with h5py.File(tmp_path / "codes.h5", "a") as file:
        file.attrs.create("hasher_model", b"caf\xe9\xff", dtype=h5py.string_dtype("utf-8"))
    videos = CodesFile(tmp_path / "codes.h5").whole()
    assert videos.hasher.model == r"caf\xe9\xff"
    write_coded_videos(tmp_path / "again.h5", videos)
    assert CodesFile(tmp_path / "again.h5").whole().hasher == videos.hasher
