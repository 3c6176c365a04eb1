"""Reading HDF5 files that others may have made: a header's claims are checked before memory is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ssvh_model.errors import UserError
from ssvh_model.files import check_regular
from ssvh_model.hdf5_heaps import endless_heap

MOST_COMPRESSED = (
    1100  # deflate, the strongest of HDF5's usual filters, makes data at most 1032 times smaller
)


def open_hdf5(path: Path, what: str, *, checked: bool = False) -> h5py.File:
    """Open a file to read.

    Args:
        path: the file.
        what: it should be, such as "codes file", for the message.
        checked: that this very file has been opened here before; it is not looked through again.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is not HDF5, or damaged.
    """
    try:
        check_regular(path)
        file = h5py.File(path, "r")
        endless = None if checked else endless_heap(file)
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a readable HDF5 file, so no {what} ({reason})") from error
    if endless is not None:
        file.close()
        raise UserError(
            f"{path}: no readable {what}, it is damaged at byte {endless} (HDF5 would read the texts there without an end)"
        )
    return file


@contextmanager
def damage_reported(path: Path | str, what: str) -> Iterator[None]:
    """Turn what HDF5 says of a damaged place, at any reading of a file in the block, into one line that names
    the file.

    Raises:
        UserError: for the errors that h5py raises where a file does not hold what its header claims.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: no readable {what}, it is damaged ({reason})") from error


def is_group(file: h5py.File, name: str) -> bool:
    """Whether that is a group of the file itself. A link is not followed: it may lead to a pipe, and whoever
    opens that waits.
    """
    return isinstance(file.get(name, getlink=True), h5py.HardLink) and isinstance(file[name], h5py.Group)


def checked_data_set(file: h5py.File, name: str, *, virtual: bool = False) -> h5py.Dataset:
    """A data set that lies in this very file and is no larger than the file can hold.

    Args:
        file: the open file.
        name: of the data set.
        virtual: whether it may instead be put together from other files.

    Raises:
        UserError: it is missing, is no data set, lies elsewhere, or claims a size that the file can't have.
    """
    path = file.filename
    link = file.get(name, getlink=True)
    if link is None:
        raise UserError(f"{path}: data set {name!r} is missing")
    if not isinstance(link, h5py.HardLink):
        raise UserError(f"{path}: {name!r} points to another place; allowed is a data set in the file itself")
    data = file[name]
    if not isinstance(data, h5py.Dataset) or data.shape is None:
        raise UserError(f"{path}: {name!r} is no data set with values")
    if data.external or (data.is_virtual and not virtual):
        raise UserError(
            f"{path}: {name!r} has its values in other files; allowed is a data set in the file itself"
        )
    if data.is_virtual:
        return data
    # Of the file that is open: at its path there may be another one by now, or none.
    size = os.fstat(file.id.get_vfd_handle()).st_size
    most = size * (MOST_COMPRESSED if data.compression else 1)
    claimed = int(np.prod([int(length) for length in data.shape], dtype=object)) * data.dtype.itemsize
    if claimed > most:
        raise UserError(
            f"{path}: {name!r} has the shape {list(data.shape)}, more than the {size} bytes of the file hold; it is damaged"
        )
    return data


def native(values: np.ndarray) -> np.ndarray:
    """The values in this machine's order of bytes, which torch insists on."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def read_texts(file: h5py.File, name: str) -> list[str]:
    """A data set of UTF-8 texts as a list.

    Raises:
        UserError: as `checked_data_set`, or it holds something else.
    """
    data = checked_data_set(file, name)
    if h5py.check_string_dtype(data.dtype) is None or data.ndim != 1:
        raise UserError(f"{file.filename}: {name!r} is no list of texts")
    return [as_text(value) for value in data[:]]


def as_text(value: bytes | str) -> str:
    """A text as HDF5 gives it; bytes that are no UTF-8 are shown as what they are."""
    return value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else str(value)


def attribute_text(file: h5py.File, name: str) -> str:
    """An attribute as a text, like `as_text`.

    Raises:
        KeyError: the file has no such attribute.
    """
    value = file.attrs[name]
    # h5py hides bytes that are no UTF-8 in what can't be written again.
    return as_text(value.encode("utf-8", errors="surrogateescape") if isinstance(value, str) else value)


def write_texts(file: h5py.File, name: str, texts: list[str]) -> None:
    """Add a data set of UTF-8 texts."""
    file.create_dataset(name, data=np.array(texts, dtype=object), dtype=h5py.string_dtype("utf-8"))
