"""Damage to HDF5 files by what they say: shapes, types, attributes, links, and data sets that lie
elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from random import Random
from typing import Any

import h5py
import numpy as np

from tests.fuzz.values import EXTREMES, FLOATS, PLACES, TEXTS

DTYPES = ("f2", "f4", "f8", "i1", "i4", "i8", "u1", "u8", ">f4", ">i8", "c8", "?", "S5", "V4", "S1")

IMPORTANT = ("features", "codes", "feats", "labels", "removed_rows")
MOST = 100_000  # values that are written


def hdf5(data: bytes, rng: Random) -> bytes:
    """Damage to a file that h5py can still write; others stay as they are."""
    buffer = io.BytesIO(data)
    try:
        with h5py.File(buffer, "r+") as file:
            names = [name for name in file if _lies_here(file, name)]
            if names:
                name = rng.choice(names)
                if rng.random() < 0.3:
                    name = next((one for one in IMPORTANT if one in names), name)
                rng.choice(CHANGES)(file, name, rng)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        RuntimeError,
        OverflowError,
        AttributeError,
        NotImplementedError,
    ):
        return data
    return buffer.getvalue()


def _lies_here(file: h5py.File, name: str) -> bool:
    """False for what an earlier mutation has made lead elsewhere: whoever writes there writes into another
    file, and it may be any.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return False
    found = file[name]
    return not isinstance(found, h5py.Dataset) or not (found.external or found.is_virtual)


def _read(data: h5py.Dataset) -> Any:
    if data.size is None or data.size > MOST:
        raise ValueError("an earlier mutation has made it too large to be written")
    return data[()]


def _replaced(file: h5py.File, name: str, **how: Any) -> None:
    del file[name]
    file.create_dataset(name, **how)


def _shape(file: h5py.File, name: str, rng: Random) -> None:
    """Another shape, with values for it."""
    data = file[name]
    values = _read(data)
    shape = [max(0, size + rng.choice((-1, 0, 0, 1, 3))) for size in np.shape(values)]
    shape = rng.choice((shape, shape, [1, *shape], shape[:-1], [0] * len(shape), [], shape[::-1]))
    _replaced(
        file, name, data=np.resize(values, shape) if np.size(values) else np.zeros(shape), dtype=data.dtype
    )


def _claim(file: h5py.File, name: str, rng: Random) -> None:
    """A shape that nothing was ever written for."""
    data = file[name]
    sizes = [value for value in EXTREMES if 0 <= value < 2**63]
    shape = [rng.choice((size, size, rng.choice(sizes))) for size in (data.shape or (1,))]
    chunks = tuple(max(1, min(size, 4)) for size in shape)
    compression = rng.choice((None, "gzip", "lzf"))
    _replaced(file, name, shape=shape, dtype=data.dtype, chunks=chunks, compression=compression)


def _dtype(file: h5py.File, name: str, rng: Random) -> None:
    """Another type of values."""
    data = file[name]
    values = _read(data)
    kind = rng.choice(DTYPES)
    if data.dtype.kind == "O":
        values = np.arange(np.size(values)).reshape(np.shape(values))
    _replaced(file, name, data=np.asarray(values).astype(kind))


def _special_type(file: h5py.File, name: str, rng: Random) -> None:
    """A type that few programs think of."""
    shape = file[name].shape or (3,)
    special: Any = rng.choice(
        (
            h5py.string_dtype("utf-8"),
            h5py.string_dtype("ascii", 4),
            h5py.vlen_dtype(np.int32),
            h5py.enum_dtype({"a": 0, "b": 1}, basetype="i4"),
            np.dtype([("a", "f4"), ("b", "i8")]),
            np.dtype(("f4", (3,))),
            h5py.ref_dtype,
            h5py.regionref_dtype,
            np.dtype("f4").newbyteorder(">"),
            h5py.opaque_dtype(np.dtype("datetime64[s]")),
        )
    )
    if np.prod(shape, dtype=float) <= MOST:
        _replaced(file, name, shape=shape, dtype=special)


def _values(file: h5py.File, name: str, rng: Random) -> None:
    """Other values in the same form."""
    data = file[name]
    if data.shape is None or 0 in data.shape or data.size > MOST:
        return
    place = tuple(rng.randrange(size) for size in data.shape)
    if h5py.check_string_dtype(data.dtype) is not None:
        data[place] = rng.choice(
            (
                rng.choice(TEXTS).encode(errors="surrogatepass"),
                b"\xff\xfe\x00",
                rng.choice(PLACES).encode(),
                data[tuple(0 for _ in place)],
            )
        )
    elif data.dtype.kind == "f":
        data[place if rng.random() < 0.7 else ...] = rng.choice(FLOATS)
    elif data.dtype.kind in "iu":
        limits = np.iinfo(data.dtype)
        data[place if rng.random() < 0.7 else ...] = min(
            max(rng.choice(EXTREMES), int(limits.min)), int(limits.max)
        )


def _attribute(file: h5py.File, name: str, rng: Random) -> None:
    """Another attribute, or one less."""
    where = file.attrs if len(file.attrs) and rng.random() < 0.8 else file[name].attrs
    key = rng.choice(list(where) or ["bits"])
    if rng.random() < 0.2:
        where.pop(key, None)
        return
    value: Any = rng.choice(
        (
            rng.choice([one for one in EXTREMES if -(2**63) <= one < 2**63]),
            rng.choice(FLOATS),
            rng.choice(
                [text for text in TEXTS if len(text) < 60_000 and "\x00" not in text and "\ud800" not in text]
            ),
            b"\xff\xfe",
            np.arange(3),
            np.array([]),
            ["a", "b"],
            h5py.Empty("f4"),
            np.array([[1, 2], [3, 4]]),
            np.void(b"abc"),
            True,
        )
    )
    where[key] = value


def _remove(file: h5py.File, name: str, rng: Random) -> None:
    """A data set less."""
    del file[name]


def _rename(file: h5py.File, name: str, rng: Random) -> None:
    """A data set under another name, or two that have changed places."""
    other = rng.choice(list(file))
    if rng.random() < 0.5 and other != name:
        file.move(name, "elsewhere")
        file.move(other, name)
        file.move("elsewhere", other)
    else:
        file.move(name, f"{name}_")


def _link(file: h5py.File, name: str, rng: Random) -> None:
    """A link in the place of a data set: soft, hard, to itself, or to another file."""
    target = rng.choice([one for one in file if one != name] or [name])
    del file[name]
    file[name] = rng.choice(
        (
            h5py.SoftLink(f"/{target}"),
            h5py.SoftLink(f"/{name}"),
            h5py.SoftLink("/nowhere"),
            h5py.SoftLink("/"),
            h5py.ExternalLink(
                rng.choice([place for place in PLACES if "\x00" not in place] or ["x"]),
                f"/{rng.choice((name, 'ids', 'features'))}",
            ),
            h5py.ExternalLink("../../outside/secret.h5", f"/{name}"),
        )
    )


def _group(file: h5py.File, name: str, rng: Random) -> None:
    """A group or a named type where a data set should be."""
    del file[name]
    if rng.random() < 0.5:
        file[name] = np.dtype("f4")
    elif rng.random() < 0.5:
        file.create_group(name)["x"] = 1
    else:
        file[name] = file["/"]


def _external(file: h5py.File, name: str, rng: Random) -> None:
    """Values that lie in another file, byte by byte."""
    data = file[name]
    place = rng.choice([one for one in PLACES if one and "\x00" not in one])
    kind = data.dtype if data.dtype.kind != "O" else np.dtype("S9")
    _replaced(file, name, shape=data.shape, dtype=kind, external=[(place, 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File, name: str, rng: Random) -> None:
    """A view on another file, or on itself, or on nothing."""
    data = file[name]
    sizes = [value for value in EXTREMES if 1 <= value < 2**40]
    shape = tuple(size if rng.random() < 0.7 else rng.choice(sizes) for size in (data.shape or (5,)))
    kind = data.dtype
    layout = h5py.VirtualLayout(shape=shape, dtype=kind)
    for _ in range(rng.choice((0, 1, 1, 2))):
        place = rng.choice(
            (
                "../../outside/secret.h5",
                ".",
                "features.h5",
                "one.h5",
                *(one for one in PLACES if one and "\x00" not in one),
            )
        )
        rows = rng.choice((1, shape[0], max(1, shape[0] // 2)))
        source = h5py.VirtualSource(
            place, rng.choice((name, "features", "ids", "nowhere")), shape=(rows, *shape[1:]), dtype=kind
        )
        layout[:rows] = source
    del file[name]
    file.create_virtual_dataset(name, layout, fillvalue=0 if kind.kind in "iuf" else None)


def _more(file: h5py.File, name: str, rng: Random) -> None:
    """Data sets that are not expected, such as cells of an index or a second form of the same file."""
    extra = rng.choice(
        (
            "cell_ends",
            "cell_centres",
            "cell_probes",
            "removed_rows",
            "frame_indices",
            "block",
            "groups",
            "splits",
            "is_query",
            "x" * 300,
        )
    )
    if extra in file:
        del file[extra]
    values: Any = rng.choice(
        (
            np.arange(3),
            np.array([-1, 5]),
            np.array([2**62]),
            np.array(["a", "b"], dtype="S1"),
            np.zeros((5, 4)),
            7,
            np.array([0.5, np.nan]),
        )
    )
    file[extra] = values


def _filters(file: h5py.File, name: str, rng: Random) -> None:
    """Other filters and chunks."""
    data = file[name]
    values = _read(data)
    shape = np.shape(values)
    how = rng.choice(
        (
            {"compression": "gzip"},
            {"compression": "lzf"},
            {"compression": "szip"},
            {"fletcher32": True},
            {"shuffle": True},
            {"scaleoffset": 1},
            {"compression": 32_015, "compression_opts": (3,)},
        )
    )
    _replaced(
        file,
        name,
        data=values,
        dtype=data.dtype,
        chunks=tuple(max(1, size // 2) for size in shape) or None,
        **how,
    )


CHANGES: tuple[Callable[[h5py.File, str, Random], None], ...] = (
    *(_shape, _claim, _dtype, _special_type, _values, _values, _attribute, _attribute),
    *(_remove, _rename, _link, _link, _group, _external, _virtual, _virtual, _more, _filters),
)
