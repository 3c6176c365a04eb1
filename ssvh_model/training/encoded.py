"""Videos of a feature file with their codes, as the evaluation looks at them."""

from __future__ import annotations

import numpy as np
import torch

from ssvh_model.features import FeatureFile
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.retrieval.video_set import VideoSet
from ssvh_model.training.encoding import encode
from ssvh_model.training.frame_source import FrameSource

ROWS_AT_ONCE = 128  # 50 MB of published features


def encode_rows(
    hasher: VideoHasher,
    file: FeatureFile,
    rows: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
    progress: Progress = no_progress,
) -> VideoSet:
    """Codes, mean-pooled features and labels of some rows of a feature file.

    Args:
        hasher: on `device`.
        file: of the features that it was made for.
        rows: [n] int64.
        batch_size: videos at once.
        progress: told the videos that are done.
    """
    source = FrameSource.from_file(file, rows, memory_limit=0)
    codes = encode(hasher, source, batch_size=batch_size, device=device, progress=progress)
    return VideoSet(
        ids=source.ids,
        labels=[file.labels[row] for row in rows],
        fine_labels=[file.fine_labels[row] for row in rows],
        codes=sign_codes(codes.numpy()),
        features=mean_features(file, rows),
    )


def mean_features(file: FeatureFile, rows: np.ndarray, frames: slice = slice(None)) -> np.ndarray:
    """Features of some rows averaged over their `frames`, [n, D] float32."""
    # In one array from the start: parts that are kept between others that are not leave holes in the
    # process's memory.
    means = np.empty((len(rows), file.shape[2]), dtype=np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        means[part] = file.read(rows[part])[:, frames].float().mean(dim=1).numpy()
    return means
