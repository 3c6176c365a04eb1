"""Damage to tables: CSV, and MATLAB's matrices."""

from __future__ import annotations

import csv
import io
import struct
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from scipy import io as matlab
from scipy import sparse

from tests.fuzz.values import EXTREMES, PLACES, TEXTS


def csv_table(data: bytes, rng: Random) -> bytes:
    """Damage to the cells, lines, header, separators, quotes or encoding of a CSV file."""
    text = data.decode(errors="replace")
    try:
        rows = list(csv.reader(io.StringIO(text)))
    except csv.Error:
        return data
    if not rows or not rows[0]:
        return data
    kind = rng.randrange(8)
    if kind < 4:
        row = rng.choice(rows[1:] or rows) if rng.random() < 0.9 else rows[0]
        if row:
            row[rng.randrange(len(row))] = str(
                rng.choice((*TEXTS, *PLACES, *map(str, EXTREMES), rng.choice(rng.choice(rows) or [""])))
            )
    elif kind == 4:
        _change_lines(rows, rng)
    elif kind == 5:
        _change_columns(rows, rng)
    else:
        return _other_text(text, rng)
    return _written(rows, rng)


def _change_lines(rows: list[list[str]], rng: Random) -> None:
    place = rng.randrange(len(rows))
    rng.choice(
        (
            lambda: rows.insert(place, list(rng.choice(rows))),
            lambda: rows.pop(place),
            lambda: rows.extend([list(rows[place])] * rng.choice((1, 5000))),
            lambda: rows.insert(place, []),
            lambda: rows.insert(place, [""] * rng.choice((1, 3, 5000))),
            lambda: rng.shuffle(rows),
            lambda: rows[place].append(rng.choice(TEXTS)),
            lambda: rows[place].clear(),
            rows.clear,
        )
    )()


def _change_columns(rows: list[list[str]], rng: Random) -> None:
    column = rng.randrange(len(rows[0]))
    kind = rng.randrange(5)
    if kind == 0:
        rows[0][column] = rng.choice(rows[0])
    elif kind == 1:
        rows[0][column] = rng.choice((f" {rows[0][column]} ", rows[0][column].upper(), "", rng.choice(TEXTS)))
    elif kind == 2:
        for row in rows:
            del row[column : column + 1]
    elif kind == 3:
        for row in rows:
            row.insert(column, row[column] if column < len(row) else "")
    else:
        for row in rows:
            row.reverse()


def _written(rows: list[list[str]], rng: Random) -> bytes:
    out = io.StringIO()
    separator = rng.choice((",", ",", ",", ",", ",", ";", "\t", "|"))
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(
        out, delimiter=separator, lineterminator=rng.choice(("\n", "\n", "\r\n", "\r")), quoting=quoting
    ).writerows(rows)
    encoding = rng.choice(("utf-8",) * 8 + ("utf-16", "latin-1", "utf-8-sig"))
    return out.getvalue().encode(encoding, errors="surrogatepass" if encoding != "latin-1" else "replace")


def _other_text(text: str, rng: Random) -> bytes:
    place = rng.randrange(len(text) + 1)
    inserted = rng.choice(
        (
            '"',
            '""',
            '"' * 99,
            "'",
            "\x00",
            "\r",
            "\n\n",
            ",,,,",
            "\\",
            "\ufeff",
            "\x1a",
            '"' + "y" * 200_000,
            "," * 200_000,
            "\n" * 10_000,
        )
    )
    return (text[:place] + inserted + text[place:]).encode(errors="surrogatepass")


def mat(data: bytes, rng: Random) -> bytes:
    """Damage to a MATLAB file before version 7.3: another matrix, or another claim about it."""
    return rng.choice((_other_matrix, _other_matrix, _other_claim))(data, rng)


def _other_matrix(data: bytes, rng: Random) -> bytes:
    table: Any = np.eye(3, dtype=np.uint8)[np.arange(6) % 3]
    structure = np.zeros(2, dtype=[("a", object), ("b", object)])
    made: Callable[[], Any] = rng.choice(
        (
            lambda: table.astype(
                rng.choice((np.int8, np.int64, np.uint64, np.float32, np.float64, bool, complex))
            ),
            lambda: table.T,
            lambda: table[: rng.randrange(7)],
            lambda: table[:, :0],
            lambda: table.reshape(3, 3, 2),
            lambda: table * rng.choice((2, 255)),
            lambda: np.where(table, np.nan, np.inf),
            lambda: "a text",
            lambda: np.array(["a", "b"], dtype=object),
            lambda: structure,
            lambda: {"nested": {"deeper": table}},
            lambda: sparse.csc_array(table.astype(rng.choice((float, complex, bool)))),
            lambda: sparse.csc_array((6, 10 ** rng.randrange(1, 9))),
            lambda: np.array([]),
            lambda: np.zeros((6, 50_000), dtype=np.uint8),
            lambda: [],
        )
    )
    name = rng.choice(("labels",) * 6 + ("x", "__header__", "a" * 31))
    out = io.BytesIO()
    try:
        with warnings.catch_warnings(action="ignore"):  # names that MATLAB does not have
            matlab.savemat(
                out, {name: made()}, do_compression=rng.random() < 0.4, oned_as=rng.choice(("row", "column"))
            )
    except (TypeError, ValueError):
        return data
    return out.getvalue()


def _other_claim(data: bytes, rng: Random) -> bytes:
    """Another number of four bytes in the tags and headers, where sizes, types and dimensions stand."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2))):
        if len(changed) >= 140:
            place = 4 * rng.randrange(31, min(len(changed) // 4, 70))
            value = rng.choice((*EXTREMES, *range(20))) % 2**32
            struct.pack_into("<I", changed, place, value)
    return bytes(changed)
