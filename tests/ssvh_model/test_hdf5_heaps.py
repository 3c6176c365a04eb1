"""Damage to the places of texts on which the HDF5 library loops for ever is found first, and sound files are
never taken for damaged.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model import hdf5_heaps
from ssvh_model.errors import UserError
from ssvh_model.hdf5 import open_hdf5, write_texts
from ssvh_model.hdf5_heaps import HEAD, HEAP, endless_heap

TEXTS = [f"video {number} " + "x" * (number % 700) for number in range(3000)]
SECONDS = 3  # of processor time, in which a process reads such a file a thousand times


def write(path: Path, texts: list[str], **settings: object) -> None:
    with h5py.File(path, "w", **settings) as file:
        file.attrs["source"] = "films"
        write_texts(file, "texts", texts)
        file["numbers"] = np.arange(1000)


def heaps_of(path: Path) -> list[int]:
    content = path.read_bytes()
    return [at for at in range(len(content)) if content.startswith(HEAP, at)]


def damage(path: Path, at: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)


def found_in(path: Path) -> int | None:
    with h5py.File(path) as file:
        return endless_heap(file)


def ends_when_read(path: Path) -> bool:
    """Whether the library itself comes to an end with the file, in a process of its own."""
    code = f"""
import resource, sys, h5py
resource.setrlimit(resource.RLIMIT_CPU, ({SECONDS}, {SECONDS}))
try:
    file = h5py.File(sys.argv[1])
    file.attrs["source"], file["texts"][:]
except (OSError, RuntimeError, KeyError):
    pass
"""
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True).returncode >= 0


def free_space(path: Path, width: int = 8) -> int:
    """Where the head of what is left of the first heap stands; sizes are of `width` bytes."""
    content, at = path.read_bytes(), heaps_of(path)[0] + HEAD
    while int.from_bytes(content[at : at + 2], "little"):
        at += HEAD + -(-int.from_bytes(content[at + 8 : at + 8 + width], "little") // 8) * 8
    return at


@pytest.mark.parametrize("settings", [{}, {"libver": "latest"}, {"userblock_size": 512}])
@pytest.mark.parametrize("count", [0, 1, 3000])
def test_sound_files_are_sound(count: int, settings: dict[str, object], tmp_path: Path) -> None:
    write(tmp_path / "texts.h5", TEXTS[:count], **settings)
    assert found_in(tmp_path / "texts.h5") is None


def test_files_with_sizes_of_four_bytes_are_read(tmp_path: Path) -> None:
    properties = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    properties.set_sizes(4, 4)
    path = tmp_path / "texts.h5"
    with h5py.File(h5py.h5f.create(bytes(path), fcpl=properties)) as file:
        write_texts(file, "texts", TEXTS[:50])
    assert found_in(path) is None
    at = free_space(path, 4)
    damage(path, at + 8, bytes(4))
    assert found_in(path) == at


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 0), (0, 2**64 - 48), (1, 2**64 - 16), (1, 2**64 - 64)],
    ids=["stands still", "goes back", "stands still by overflow", "goes back by overflow"],
)
def test_what_would_loop_is_found_and_said(number: int, size: int, tmp_path: Path) -> None:
    path = tmp_path / "texts.h5"
    write(path, TEXTS[:20])
    at = free_space(path)
    damage(path, at, number.to_bytes(2, "little"))
    damage(path, at + 8, size.to_bytes(8, "little"))
    assert found_in(path) == at
    with pytest.raises(UserError, match=rf"texts.h5: no readable codes file, it is damaged at byte {at} "):
        open_hdf5(path, "codes file")


def test_the_library_itself_loops_there(tmp_path: Path) -> None:
    """Once it does not any more, the check is not needed any more."""
    path = tmp_path / "texts.h5"
    write(path, TEXTS[:20])
    assert ends_when_read(path)
    damage(path, free_space(path) + 8, bytes(8))
    assert not ends_when_read(path)


@pytest.mark.parametrize("piece", [2**13, 2**14 + 1])
def test_heaps_between_two_pieces_are_found(
    piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_heaps, "PIECE", piece)
    path = tmp_path / "texts.h5"
    write(path, TEXTS[:300])
    whole = path.read_bytes()
    assert found_in(path) is None
    for heap in heaps_of(path):
        path.write_bytes(whole)
        damage(path, heap + HEAD, bytes(16))
        assert found_in(path) == heap + HEAD


def test_what_is_said_of_random_damage_is_what_the_library_does(tmp_path: Path) -> None:
    """Whatever the library comes to no end with is found first."""
    random = np.random.default_rng(1)
    path = tmp_path / "texts.h5"
    write(path, TEXTS[:20])
    whole, heap = path.read_bytes(), heaps_of(path)[0]
    for _ in range(12):
        path.write_bytes(whole)
        damage(path, heap + HEAD + int(random.integers(0, 400)), bytes(int(random.integers(1, 64))))
        assert found_in(path) is not None or ends_when_read(path)
