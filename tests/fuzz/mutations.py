"""Damage for files: to their bytes, which any file may have, and to what their bytes say, by what kind of
file it is.

All chance comes from the `random.Random` that is handed in, so that the same one gives the same damage.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tests.fuzz.damage import hdf5, table, tensor, text, video
from tests.fuzz.values import EXTREMES

Mutation = Callable[[bytes, Random], bytes]
STRUCTURED = 0.65  # share of the inputs whose damage knows the kind of file
BOTH = 0.15  # share of these that have damaged bytes besides


def mutate(path: Path, others: Sequence[Path], rng: Random, *, structured: bool) -> str:
    """Damage a file in place; what was done to it, in words.

    Args:
        path: the file.
        others: files of the same kind, which it may be mixed with.
        rng: source of all chance.
        structured: whether the damage may know the kind of file.
    """
    data = path.read_bytes()
    done = []
    if structured and rng.random() < STRUCTURED:
        change = structured_mutation(path, data)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            # What an earlier one has left may be too damaged for it.
            with contextlib.suppress(Exception):
                data = change(data, rng)
        done.append(change.__name__)
        if rng.random() >= BOTH:
            path.write_bytes(data)
            return done[0]
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        name, damage = rng.choice(BYTES)
        other = rng.choice(others).read_bytes() if others else data
        data = damage(data, rng, other)
        done.append(name)
    path.write_bytes(data)
    return ", ".join(done)


def structured_mutation(path: Path, data: bytes) -> Mutation:
    """What damages a file of this kind where it hurts."""
    suffix = path.suffix
    if suffix == ".h5" or (suffix == ".mat" and data[512:516] == b"\x89HDF"):
        return hdf5.hdf5
    known: dict[str, Mutation] = {
        ".mat": table.mat,
        ".csv": table.csv_table,
        ".json": text.json_text,
        ".jsonl": text.json_lines,
        ".yaml": text.yaml_text,
        ".safetensors": tensor.safetensors,
        ".pt": tensor.torch_file,
    }
    return known.get(suffix, video.video)


def _place(data: bytes, rng: Random) -> int:
    # Headers are where most is said in few bytes.
    most = len(data) if rng.random() < 0.5 else min(len(data), 256)
    return rng.randrange(max(1, most))


def _length(data: bytes, rng: Random) -> int:
    return min(len(data), rng.choice((1, 2, 4, 8, 16, 64, 512, max(1, len(data) // 4))))


def _flip(data: bytes, rng: Random, _: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _truncate(data: bytes, rng: Random, _: bytes) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: Random, _: bytes) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + _length(data, rng) :]


def _repeat(data: bytes, rng: Random, _: bytes) -> bytes:
    start = _place(data, rng)
    part = data[start : start + _length(data, rng)]
    return data[:start] + part * rng.choice((1, 1, 2, 50)) + data[start:]


def _fill(data: bytes, rng: Random, _: bytes) -> bytes:
    start, length = _place(data, rng), _length(data, rng)
    filling = rng.choice((b"\x00", b"\xff", b"\x7f", b"\x80", b" "))
    return data[:start] + filling * len(data[start : start + length]) + data[start + length :]


def _integer(data: bytes, rng: Random, _: bytes) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    value = (rng.choice(EXTREMES) % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))
    start = _place(data, rng)
    if rng.random() < 0.5:
        start -= start % size
    return data[:start] + value + data[start + size :]


def _splice(data: bytes, rng: Random, other: bytes) -> bytes:
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _swap(data: bytes, rng: Random, _: bytes) -> bytes:
    first, second = sorted((_place(data, rng), _place(data, rng)))
    length = min(_length(data, rng), second - first)
    return (
        data[:first]
        + data[second : second + length]
        + data[first + length : second]
        + data[first : first + length]
        + data[second + length :]
    )


def _noise(data: bytes, rng: Random, _: bytes) -> bytes:
    start = _place(data, rng)
    noise = rng.randbytes(_length(data, rng))
    return data[:start] + noise + data[start + (len(noise) if rng.random() < 0.7 else 0) :]


def _other_kind(data: bytes, rng: Random, _: bytes) -> bytes:
    return rng.choice(
        (
            b"",
            b"\x00" * 64,
            b"\x89HDF\r\n\x1a\n",
            b"PK\x05\x06" + b"\x00" * 18,
            b"\x1f\x8b\x08" + data,
            b"#!/bin/sh\ntouch executed\n",
            "\ufeff".encode("utf-16") + data,
            b"\xef\xbb\xbf" + data,
            struct.pack("<Q", len(data)) + data,
            io.BytesIO(data).read(8) * 1000,
        )
    )


BYTES: tuple[tuple[str, Callable[[bytes, Random, bytes], bytes]], ...] = (
    *(("flip", _flip), ("flip", _flip), ("integer", _integer), ("integer", _integer)),
    *(("truncate", _truncate), ("remove", _remove), ("repeat", _repeat), ("fill", _fill)),
    *(("splice", _splice), ("swap", _swap), ("noise", _noise), ("other kind", _other_kind)),
)
