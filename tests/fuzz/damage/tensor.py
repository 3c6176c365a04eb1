"""Damage to files of tensors: safetensors, and torch's own format, which is a zip archive with a pickle."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from random import Random
from typing import Any

import torch
from safetensors.torch import save

from tests.fuzz.guard import CANARY
from tests.fuzz.values import EXTREMES, any_value, change_tree

DTYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "U64", "XX", "")
MOST = 200_000  # numbers in a tensor of another shape


def safetensors(data: bytes, rng: Random) -> bytes:
    """Damage to the header of a safetensors file, or to the values behind it."""
    if len(data) < 8:
        return data
    (length,) = struct.unpack("<Q", data[:8])
    header, values = data[8 : 8 + length], data[8 + length :]
    try:
        tree = json.loads(header)
    except ValueError:
        return data
    names = [name for name in tree if name != "__metadata__"] if isinstance(tree, dict) else []
    kind = rng.randrange(7)
    if kind == 0:
        return (
            struct.pack("<Q", rng.choice((*EXTREMES, len(header) - 1, len(data))) % 2**64) + header + values
        )
    if kind == 1 and len(values) >= 4:
        return data[: 8 + length] + _other_floats(values, rng)
    if kind < 5 and names:
        _change_entry(tree, rng.choice(names), names, rng)
    else:
        tree = change_tree(tree, rng)
    try:
        header = json.dumps(tree).encode()
    except ValueError:
        return data
    if kind == 2 and names:  # consistent claims: the values are as many as the header now says
        return _consistent(tree, rng) or data
    return struct.pack("<Q", len(header)) + header + values


def _change_entry(tree: Any, name: str, names: list[str], rng: Random) -> None:
    entry = tree[name]
    kind = rng.randrange(6)
    if not isinstance(entry, dict):
        return
    if kind == 0:
        entry["dtype"] = rng.choice(DTYPES)
    elif kind == 1:
        entry["shape"] = [rng.choice((*EXTREMES, 1, 2, 3)) for _ in range(rng.randrange(5))]
    elif kind == 2:
        entry["data_offsets"] = [rng.choice((*EXTREMES, 4, 8)), rng.choice((*EXTREMES, 4, 8))]
    elif kind == 3:
        tree[rng.choice(names)] = dict(entry)
    elif kind == 4:
        tree[f"{name}.more"] = tree.pop(name)
    else:
        entry["shape"] = list(reversed(entry.get("shape") or []))


def _consistent(tree: Any, rng: Random) -> bytes | None:
    """A whole file of the tensors that a header names, with sizes of a person's choice."""
    kinds = (
        torch.float32,
        torch.float32,
        torch.float32,
        torch.float64,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.bfloat16,
    )
    tensors = {}
    for name, entry in tree.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if name == "__metadata__" or not isinstance(shape, list):
            continue
        sizes = [int(size) if isinstance(size, int) and 0 <= size < 1000 else 3 for size in shape]
        if rng.random() < 0.1:
            sizes = rng.choice(
                ([], [0], [1, *sizes], sizes[:-1], [*sizes[:-1], 0], [size + 1 for size in sizes])
            )
        if len(sizes) > 4 or _count(sizes) > MOST:
            sizes = [2]
        tensors[name] = torch.full(sizes, rng.choice((0.0, 1.0, -1.0))).to(
            rng.choice(kinds) if rng.random() < 0.15 else torch.float32
        )
    return save(tensors) if tensors else None


def _count(sizes: list[int]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count


def _other_floats(values: bytes, rng: Random) -> bytes:
    changed = bytearray(values)
    for _ in range(rng.choice((1, 3, 30))):
        place = 4 * rng.randrange(len(changed) // 4)
        struct.pack_into(
            "<f", changed, place, rng.choice((float("nan"), float("inf"), -1e38, 3e38, 0.0, 1e-45))
        )
    return bytes(changed)


class _Executed:
    """Unpickled, it calls something."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def torch_file(data: bytes, rng: Random) -> bytes:
    """Damage to a file of torch's: to what it holds, to its pickle, or to the archive around that."""
    kind = rng.randrange(5)
    if kind < 3:
        return _other_content(data, rng)
    try:
        members = _members(data)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return data
    name = rng.choice(list(members))
    pickled = next((one for one in members if one.endswith("data.pkl")), name)
    if kind == 3:
        payload = rng.choice(
            (
                _Executed(eval, ("__import__('os').system('touch executed')",)),
                _Executed(__import__, (CANARY,)),
                _Executed(print, ("executed",)),
            )
        )
        code = rng.choice(
            (
                pickle.dumps({"epoch": payload}, protocol=2),
                b"cos\nsystem\n(S'touch executed'\ntR.",
                f"c{CANARY}\nx\n.".encode(),
                b"\x80\x02" + b"(" * 10_000 + b".",
                b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".",
                b"\x80\x02]" + b"]" * 5000 + b"a" * 5000 + b".",
                members[pickled][: rng.randrange(len(members[pickled]))],
                pickle.dumps(any_value(rng), protocol=2),
            )
        )
        if rng.random() < 0.3:
            return code  # as torch wrote before it took archives
        members[pickled] = code
    elif rng.random() < 0.5:
        changed = bytearray(members[name])
        for _ in range(rng.choice((1, 4))):
            if changed:
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        members[name] = bytes(changed)
    else:
        value = members.pop(name)
        members[rng.choice((f"../../outside/{name}", f"/{name}", f"{name}x", "constants.pkl", name))] = (
            value * rng.choice((0, 1, 2))
        )
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return out.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _other_content(data: bytes, rng: Random) -> bytes:
    try:
        state = torch.load(io.BytesIO(data), weights_only=True)
    except Exception:  # damaged before
        return data
    tensors = [(box, key) for box in _boxes(state) for key in box if isinstance(box[key], torch.Tensor)]
    if tensors and rng.random() < 0.5:
        box, key = rng.choice(tensors)
        box[key] = rng.choice(
            (
                lambda one: one.double(),
                lambda one: one.to(torch.int32),
                lambda one: one.reshape(-1)[: one.numel() // 2].clone(),
                lambda one: one[None],
                lambda one: torch.zeros(0),
                lambda one: one * 0 - 5,
                lambda one: torch.full_like(one, 200),
                lambda one: torch.full(one.shape, float("nan")),
                lambda one: None,
                lambda one: one.tolist(),
                lambda one: torch.zeros(1).expand(10**9),
                lambda one: one.to_sparse() if one.ndim else one,
                lambda one: one.to("meta"),
                lambda one: OrderedDict(a=one),
            )
        )(box[key])
    else:
        state = change_tree(state, rng)
    out = io.BytesIO()
    try:
        torch.save(state, out, _use_new_zipfile_serialization=rng.random() < 0.8)
    except Exception:  # what can't be saved is no input
        return data
    return out.getvalue()


def _boxes(tree: Any) -> list[dict[Any, Any]]:
    found, waiting = [], [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found.append(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found
