"""Cells of alike codes, for very large indexes: a query looks into the nearest ones only (`inverted_file`).

They are plain arrays in the codes file, so that nothing is read which faiss would have to deserialise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import torch

from ssvh_model.clustering.kmeans import kmeans
from ssvh_model.errors import UserError
from ssvh_model.faiss_import import load_faiss
from ssvh_model.hdf5 import checked_data_set
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
    cell_of = flat_index(centres).search(as_words(codes).view(np.uint8), 1)[1][:, 0]
    order = np.argsort(cell_of, kind="stable")
    ends = np.bincount(cell_of, minlength=len(centres)).cumsum()
    return order, Cells(centres, ends, probes)


def flat_index(centres: np.ndarray) -> Any:
    """faiss's exact index of centres [c, words] uint64; of equally near ones it finds the first."""
    index = load_faiss().IndexBinaryFlat(64 * centres.shape[1])
    index.use_heap = False  # counting, which is faster for many probes of few centres
    index.add(np.ascontiguousarray(centres).view(np.uint8))
    return index


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
