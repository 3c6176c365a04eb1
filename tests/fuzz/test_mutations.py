"""Damage is done to an input and to nothing else: a mutation must not write through what an earlier one has
put into the file.
"""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import h5py
import numpy as np
import pytest

from tests.fuzz.damage import hdf5
from tests.fuzz.values import PLACES


def small_file() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["features"] = np.ones((5, 4, 6), dtype=np.float32)
        file["is_query"] = np.zeros(5, dtype=np.uint8)
    return buffer.getvalue()


def lead_out(file: h5py.File, kind: str, target: str) -> None:
    """Make every data set of a file lie in another one."""
    for name in ("features", "is_query"):
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        if kind == "external":
            file.create_dataset(name, shape=shape, dtype=dtype, external=[(target, 0, h5py.h5f.UNLIMITED)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
            layout[...] = h5py.VirtualSource(target, name, shape=shape, dtype=dtype)
            file.create_virtual_dataset(name, layout)
        else:
            file[name] = h5py.ExternalLink(target, f"/{name}")


@pytest.mark.parametrize("kind", ["external", "virtual", "link"])
def test_nothing_is_written_or_read_through_a_file_that_leads_elsewhere(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "target.h5"
    target.write_bytes(small_file())
    buffer = io.BytesIO(small_file())
    with h5py.File(buffer, "r+") as file:
        lead_out(file, kind, str(target))
    leading = buffer.getvalue()
    before = target.read_bytes()
    for number in range(400):
        data, rng = leading, Random(number)
        for _ in range(3):
            data = hdf5.hdf5(data, rng)
        assert target.read_bytes() == before, f"written by damage {number}"
    assert [path.name for path in tmp_path.iterdir()] == ["target.h5"]


def test_no_place_that_inputs_lead_to_is_a_file_that_someone_needs() -> None:
    harmless = ("/dev/zero", "/proc/version", "/")
    absolute = [place for place in PLACES if place.startswith("/")]
    assert set(absolute) <= set(harmless)
