"""A check of the places in which HDF5 keeps texts: on some damage there, its library would loop for ever.

Texts of any length, those of attributes too, lie in global heaps: a header, then objects, each with its size.
The library steps from one object to the next by these sizes and never looks whether it comes forward
(H5HG__cache_heap_deserialize, seen in HDF5 2.0.0).

Source: HDF5 File Format Specification 3.0, III.E "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import h5py
import numpy as np

HEAP = b"GCOL\x01\0\0\0"  # how one begins: signature, version, zeros
HEAD = 16  # bytes before the first object, and before an object's own bytes
SIZE_AT = 8  # in a head
PIECE = 2**24  # bytes looked through at once


def endless_heap(file: h5py.File) -> int | None:
    """Find the first object from which the library would not come forward.

    Args:
        file: the open file; only its bytes are read.

    Returns:
        Where the object lies in the file, in bytes; None if there is none.
    """
    handle = file.id.get_vfd_handle()
    width = file.id.get_create_plist().get_sizes()[1]  # bytes of a size, in this file
    start = 0
    while len(block := os.pread(handle, PIECE, start)) > HEAD:
        heaps = np.fromiter(_places(block), dtype=np.int64)
        content = np.frombuffer(block, dtype=np.uint8)
        ends = heaps + np.minimum(_sizes(content, heaps, width), 2**62).astype(np.int64)
        at = _endless(content, heaps + HEAD, np.minimum(ends, len(block)), width)
        if at is not None:
            return start + at
        # A heap that goes on behind this piece is looked at again from its beginning, if it is not larger
        # than half a piece.
        cut = heaps[(ends > len(block)) & (heaps > PIECE // 2)]
        whole = len(block) < PIECE or not len(cut)
        start += len(block) - len(HEAP) + 1 if whole else int(cut[0])
    return None


def _places(block: bytes) -> Iterator[int]:
    """Where heaps begin, as far as their head lies in the block."""
    at = block.find(HEAP)
    while 0 <= at <= len(block) - HEAD:
        yield at
        at = block.find(HEAP, at + len(HEAP))


def _sizes(content: np.ndarray, heads: np.ndarray, width: int) -> np.ndarray:
    """The sizes that stand in heads, uint64."""
    places = heads[:, None] + np.arange(SIZE_AT, SIZE_AT + width)
    return content[places].astype(np.uint64) @ (np.uint64(256) ** np.arange(width, dtype=np.uint64))


def _endless(content: np.ndarray, objects: np.ndarray, ends: np.ndarray, width: int) -> int | None:
    """Step through all heaps at once, as the library steps through one.

    Args:
        content: [n] uint8.
        objects: where the first object of each heap is, int64.
        ends: of the heaps.
        width: bytes of a size.
    """
    while True:
        inside = objects + HEAD <= ends
        objects, ends = objects[inside], ends[inside]
        if not len(objects):
            return None
        size = _sizes(content, objects, width)
        unused = (content[objects] == 0) & (content[objects + 1] == 0)  # its number is 0
        # As in C, what is too large begins at 0 again.
        step = np.where(unused, size, (size + np.uint64(7)) // np.uint64(8) * np.uint64(8) + np.uint64(HEAD))
        endless = (step == 0) | (step >= 2**63)
        if endless.any():
            return int(objects[endless].min())
        objects = objects + np.minimum(step, 2**62).astype(np.int64)
