"""Approximate search for very large indexes: codes are kept in cells of alike ones, and a query looks into the nearest cells only.

It is what faiss calls IndexBinaryIVF. The cells are plain arrays in the codes file, which has two ends: nothing that faiss would have to
deserialise is read from a file, and an index that was just opened answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
import torch

from ssvh_model.clustering.kmeans import kmeans
from ssvh_model.errors import UserError
from ssvh_model.hdf5 import checked_data_set
from ssvh_model.index.scan import nearest
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

    def nearest(
        self, query: np.ndarray, words: np.ndarray, *, kept: np.ndarray | None, base: int, count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest codes as far as they are in the cells looked into; as `scan.nearest`, but -1 where these hold fewer than `count`.

        Args:
            query: [q, words] uint64.
            words: [n, words] uint64: the codes that are left of the cells', then codes in no cell, which every query looks at.
            kept: which of the cells' codes are left, ascending; None for all.
            base: how many are left.
            count: how many a query.
        """
        ends = self.ends if kept is None else np.searchsorted(kept, self.ends)
        starts = np.concatenate([[0], ends[:-1]])
        chosen, _ = nearest(query, self.centres, count=self.probes)
        rows = np.full((len(query), count), -1, dtype=np.int64)
        distances = np.full((len(query), count), -1, dtype=np.int32)
        for number, cells in enumerate(np.sort(chosen, axis=1)):
            # Rows ascend from cell to cell, so that equally near codes come by row, as in the exact search.
            parts = [(starts[cell], ends[cell]) for cell in cells] + [(base, len(words))]
            candidates = np.concatenate([words[first:last] for first, last in parts])
            found, distance = nearest(query[number : number + 1], candidates, count=count)
            lengths = np.array([last - first for first, last in parts])
            before = lengths.cumsum() - lengths
            part = np.searchsorted(before + lengths, found[0], side="right")
            rows[number, : found.shape[1]] = (
                np.array([first for first, _ in parts])[part] + found[0] - before[part]
            )
            distances[number, : found.shape[1]] = distance[0]
        return rows, distances


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
    # Where as many codes have a bit as have it not, the first code decides: a fixed value would prefer one of the two.
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
    cell_of, _ = nearest(as_words(codes), centres, count=1)
    order = np.argsort(cell_of[:, 0], kind="stable")
    ends = np.bincount(cell_of[:, 0], minlength=len(centres)).cumsum()
    return order, Cells(centres, ends, probes)


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
