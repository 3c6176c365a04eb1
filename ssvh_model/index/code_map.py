"""Codes in the plane and in clusters: near codes come to lie near each other, and have the same colour."""

from __future__ import annotations

import math

import numpy as np
import torch

from ssvh_model.clustering.kmeans import kmeans
from ssvh_model.retrieval.codes import unpack

ROWS_AT_ONCE = 65_536
MOST_CLUSTERS = 8  # of which no two look alike on the page: the same shape has opposite hues
ITERATIONS, RESTARTS, POINTS_PER_CLUSTER = 20, 3, 256


def map_codes(codes: np.ndarray, bits: int) -> np.ndarray:
    """The two directions in which codes differ most, by principal component analysis of their bits.

    The squared Euclidean distance of two codes in {-1, +1} is four times their Hamming distance, so that this
    is also classical multidimensional scaling of the square roots of the Hamming distances.

    Args:
        codes: packed, [n, ceil(bits / 8)] uint8.
        bits: K.

    Returns:
        [n, 2] float32, centred. The same codes give the same places on one machine: of the two signs of a
            direction, the
        one counts whose components have a positive sum.
    """
    mean, products = np.zeros(bits), np.zeros((bits, bits))
    for start in range(0, len(codes), ROWS_AT_ONCE):
        part = unpack(codes[start : start + ROWS_AT_ONCE], bits).astype(np.float32)
        mean += part.sum(axis=0, dtype=np.float64)
        products += part.T @ part
    if not len(codes):
        return np.empty((0, 2), dtype=np.float32)
    mean /= len(codes)
    directions = np.zeros((bits, 2))
    found = np.linalg.eigh(products / len(codes) - np.outer(mean, mean))[1][:, ::-1][:, :2]
    directions[:, : found.shape[1]] = found * np.where(found.sum(axis=0) < 0, -1, 1)
    places = np.empty((len(codes), 2), dtype=np.float32)
    for start in range(0, len(codes), ROWS_AT_ONCE):
        part = unpack(codes[start : start + ROWS_AT_ONCE], bits)
        places[start : start + ROWS_AT_ONCE] = (part - mean) @ directions
    return places


def cluster_codes(codes: np.ndarray, bits: int, video: np.ndarray, videos: int) -> np.ndarray:
    """The cluster of each video, by k-means of the codes' bits in {-1, +1}.

    There are about as many clusters as the root of half the number of videos, at most `MOST_CLUSTERS`.
    k-means looks for them among some thousand videos, however many there are.

    Args:
        codes: packed, [n, ceil(bits / 8)] uint8.
        bits: K.
        video: [n] int64, which video a code is of, from 0; -1 for none. A video of several codes is in the
            middle of these.
        videos: how many there are, m; each has a code.

    Returns:
        [m] int64, from 0, the largest cluster first. The same codes give the same clusters on one machine.
    """
    if not videos:
        return np.empty(0, dtype=np.int64)
    sums = np.zeros((videos, bits), dtype=np.float32)
    for start in range(0, len(codes), ROWS_AT_ONCE):
        of = video[start : start + ROWS_AT_ONCE]
        kept = of >= 0
        np.add.at(sums, of[kept], unpack(codes[start : start + ROWS_AT_ONCE][kept], bits).astype(np.float32))
    counts = np.bincount(video[video >= 0], minlength=videos)[:, None].astype(np.float32)
    found = kmeans(
        torch.from_numpy(sums / counts),
        min(MOST_CLUSTERS, math.ceil(math.sqrt(videos / 2))),
        iterations=ITERATIONS,
        restarts=RESTARTS,
        points_per_centroid=POINTS_PER_CLUSTER,
        seed=0,
    ).assignments.numpy()
    # Where many codes are the same, some clusters have no video.
    _, present, sizes = np.unique(found, return_inverse=True, return_counts=True)
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return place[present]
