"""Cells of alike codes, for very large indexes: a query looks into the nearest ones only.

They are plain arrays in the codes file, so that nothing is read which faiss would have to deserialise.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
import torch

from ssvh_model.clustering.kmeans import kmeans
from ssvh_model.errors import UserError
from ssvh_model.hdf5 import checked_data_set
from ssvh_model.index.inverted_lists import InvertedLists, one_list
from ssvh_model.retrieval.codes import pack, unpack
from ssvh_model.retrieval.hamming import as_words

CENTRES, ENDS, PROBES = "cell_centres", "cell_ends", "cell_probes"
SAMPLE_PER_CELL = 32
ITERATIONS = 10


@dataclass(frozen=True)
class Cells:
    """Cells over codes that are ordered by cell.

    Attributes:
        centres: a code for each cell, [c, words] uint64.
        ends: row behind each cell's last code, [c] int64, ascending; the last one is the number of codes.
        probes: cells that a query looks into.
    """

    centres: np.ndarray
    ends: np.ndarray
    probes: int


def make_cells(
    codes: np.ndarray, bits: int, *, cells: int, probes: int, seed: int
) -> tuple[np.ndarray, Cells]:
    """Find cells for codes and put them into these.

    Turning over the same bits of every code turns them over in the centres, and changes nothing else.

    Args:
        codes: [n, ceil(bits / 8)] uint8.
        bits: K.
        cells: at most n.
        probes: cells that a query will look into; at most `cells`.
        seed: of the sample and of k-means.

    Returns:
        The order in which the codes are to be kept, [n] int64, and the cells.
    """
    generator = np.random.default_rng(seed)
    sample = np.sort(generator.permutation(len(codes))[: SAMPLE_PER_CELL * cells])
    signs = unpack(codes[sample], bits)
    points = torch.from_numpy(signs).float()
    found = kmeans(
        points, cells, iterations=ITERATIONS, restarts=1, points_per_centroid=SAMPLE_PER_CELL, seed=seed
    )
    # Where as many codes have a bit as have it not, the first code decides: a fixed value would prefer one of
    # the two.
    means = found.centroids.numpy()
    centres = as_words(pack(np.where(means == 0, signs[0], np.sign(means)).astype(np.int8)))
    return into_cells(codes, centres, probes)


def into_cells(codes: np.ndarray, centres: np.ndarray, probes: int) -> tuple[np.ndarray, Cells]:
    """Put codes into the cells of their nearest centres, in each in the order that they have.

    Args:
        codes: [n, ceil(bits / 8)] uint8.
        centres: [c, words] uint64.
        probes: cells that a query will look into; at most c.

    Returns:
        As `make_cells`.
    """
    first = np.zeros((len(codes), 1), dtype=np.int64)
    cell_of = one_list(centres).nearest(as_words(codes), first, 1)[0][:, 0]
    order = np.argsort(cell_of, kind="stable")
    ends = np.bincount(cell_of, minlength=len(centres)).cumsum()
    return order, Cells(centres, ends, probes)


class CellSearch:
    """A search in cells, and among codes in no cell, at which every query looks. Threads may share it.

    Args:
        cells: as they were made.
        words: [n, words] uint64, contiguous: the codes that are left of the cells', then those in no cell.
        kept: which of the cells' codes are left, ascending; None for all.
    """

    def __init__(self, cells: Cells, words: np.ndarray, kept: np.ndarray | None) -> None:
        ends = cells.ends if kept is None else np.searchsorted(kept, cells.ends)
        self._probes = cells.probes
        self._in_no_cell = len(ends)
        self._centres = one_list(cells.centres)
        self._codes = InvertedLists(words, np.append(ends, len(words)), cells.probes + 1)

    def nearest(self, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest codes, as far as they are in the cells looked into: `InvertedLists.nearest` for queries
        [q, words] uint64.
        """
        first = np.zeros((len(query), 1), dtype=np.int64)
        cells = np.sort(self._centres.nearest(query, first, self._probes)[0], axis=1)
        return self._codes.nearest(query, np.hstack([cells, first + self._in_no_cell]), count)


def cells_as_data(cells: Cells) -> dict[str, np.ndarray]:
    """Data sets of a codes file; `load_cells` reads them."""
    return {CENTRES: cells.centres, ENDS: cells.ends, PROBES: np.array([cells.probes])}


def load_cells(file: h5py.File, rows: int) -> Cells | None:
    """The cells of a codes file with so many rows; None if it has none.

    Raises:
        UserError: they do not fit.
    """
    if ENDS not in file:
        return None
    centres, ends = checked_data_set(file, CENTRES)[:], checked_data_set(file, ENDS)[:]
    probes = checked_data_set(file, PROBES)[:]
    words = file["codes"].shape[1]
    fits = (
        centres.dtype == np.uint64
        and centres.shape == (len(ends), -(-words // 8))
        and ends.ndim == 1
        and np.issubdtype(ends.dtype, np.integer)
        and len(ends) > 0
        and ends[0] >= 0
        and bool((np.diff(ends) >= 0).all())
        and ends[-1] == rows
        and probes.shape == (1,)
        and 1 <= int(probes[0]) <= len(ends)
    )
    if not fits:
        raise UserError(f"{file.filename}: its cells do not fit its codes; `ssvh index` makes it anew")
    return Cells(centres, ends.astype(np.int64), int(probes[0]))
