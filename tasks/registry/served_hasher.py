"""The registered model as MLflow loads it: features or video paths in, codes out.

MLflow runs this file when it loads the model ("models from code"), so nothing of it is pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from ssvh_model.errors import UserError
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.model.hasher_file import load_saved_hasher, read_carried_model

FEATURES = "features"
PATH = "path"
VIDEOS_AT_ONCE = 64


class ServedHasher(PythonModel):
    """Turns a table with the column `features` or the column `path` into packed codes."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the hasher; the backbone waits until a path has to be turned into features."""
        folder = Path(context.artifacts["hasher"])
        hasher, features = load_saved_hasher(folder)
        # Whoever lets MLflow run this file, which came with the model, trusts the model's TorchScript, too.
        self._encoder = VideoEncoder(
            hasher, features, read_carried_model(folder, features), trust_torchscript=True
        )

    # With any other type of input MLflow would derive a signature of its own; the one that is logged with the
    # model knows that either column will do.
    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Packed codes, [n, ceil(K / 8)] uint8; `ssvh_model.retrieval.codes.unpack` makes -1 and +1 of them.

        Args:
            context: as MLflow gives it.
            model_input: a table of n rows with `features` (M lists of D numbers a row) or `path` (a video
                file a row).
            params: not used.

        Raises:
            UserError: neither column is there, or a row can't be used.
        """
        if FEATURES in model_input:
            config = self._encoder.hasher.config
            shape = (config.frames, config.feature_size)
            return self._codes(
                [_features(cell, shape, row) for row, cell in enumerate(model_input[FEATURES])]
            )
        if PATH in model_input:
            return self._codes([self._frame_features(Path(path)) for path in model_input[PATH]])
        raise UserError(f"the input has the columns {list(model_input)}; allowed is {FEATURES!r} or {PATH!r}")

    def _codes(self, features: list[np.ndarray]) -> np.ndarray:
        parts = [
            self._encoder.codes_of(np.stack(features[start : start + VIDEOS_AT_ONCE]))
            for start in range(0, len(features), VIDEOS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def _frame_features(self, path: Path) -> np.ndarray:
        made = self._encoder.features
        if not made.weights_sha256:
            raise UserError(
                f"{path}: this hasher was trained on features that were not made from videos here "
                f"({made.backbone or 'of unknown origin'}); allowed is the column {FEATURES!r}"
            )
        return self._encoder.frame_features(path)


def _features(cell: Any, shape: tuple[int, int], row: int) -> np.ndarray:
    features = np.asarray([np.asarray(frame, dtype=np.float32) for frame in cell], dtype=np.float32)
    if features.shape != shape:
        raise UserError(f"row {row}: features of shape {list(features.shape)}; allowed is {list(shape)}")
    if not np.isfinite(features).all():
        raise UserError(f"row {row}: features are not all finite")
    return features


set_model(ServedHasher())
