"""From a video file to its code, as the videos of the feature file were encoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.model.grade_net import GradeNet
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.codes import pack, sign_codes

if TYPE_CHECKING:
    from ssvh_model.video.backbones import Backbone
    from ssvh_model.video.decoding import SampledFrames


class VideoEncoder:
    """A hasher with the backbone whose features it was trained on; the backbone is loaded at the first video.

    Args:
        hasher: in evaluation mode, on the CPU.
        features: how its features were made.
        model: the file of the user's image model that made them; None if a package has their backbone, or if
            it is gone.
        grade_net: that was trained with the hasher, if there was one.
        trust_torchscript: run that model even if it is TorchScript, a program.
    """

    def __init__(
        self,
        hasher: VideoHasher,
        features: FeatureMeta,
        model: bytes | None = None,
        *,
        grade_net: GradeNet | None = None,
        trust_torchscript: bool = False,
    ) -> None:
        self.hasher = hasher
        self.features = features
        self.grade_net = grade_net
        self._model, self._trust_torchscript = model, trust_torchscript
        self._backbone: Backbone | None = None

    def frame_features(self, path: Path) -> np.ndarray:
        """Features of a video's frames, [M, D] float16, as they are stored.

        Raises:
            UserError: as `sampled`.
        """
        return self.features_of(self.sampled(path))

    def sampled(self, path: Path) -> SampledFrames:
        """The frames of a video that the hasher looks at.

        Raises:
            UserError: the video can't be read, or the hasher's features are not made from videos.
        """
        from ssvh_model.video.container import UnreadableVideo
        from ssvh_model.video.extraction import decode_for

        try:
            return decode_for(self.backbone, path, frames=self.hasher.config.frames)
        except UnreadableVideo as error:
            raise UserError(f"{path}: {error}") from error

    def features_of(self, sampled: SampledFrames) -> np.ndarray:
        """Features of frames that were decoded elsewhere, as `sizes_for` says, [M, D] float16.

        Raises:
            UserError: as `backbone`.
        """
        from ssvh_model.video.extraction import prepared_for

        return self.backbone.features(prepared_for(self.backbone, sampled)).half().numpy()

    @property
    def backbone(self) -> Backbone:
        """The image network, loaded at the first need.

        Raises:
            UserError: the hasher's features are not made from videos, or not by a backbone that is to be had
                here.
        """
        if self._backbone is None:
            self._backbone = backbone_of(
                self.features,
                torch.device("cpu"),
                model=self._model,
                trust_torchscript=self._trust_torchscript,
            )
            self._model = None  # it may be large, and has been read
        return self._backbone

    def code(self, path: Path) -> np.ndarray:
        """Packed code of a video, [ceil(K / 8)] uint8.

        Raises:
            UserError: as `frame_features`.
        """
        return self.codes_of(self.frame_features(path)[None])[0]

    def codes_of(self, features: np.ndarray) -> np.ndarray:
        """Packed codes of frame features [n, M, D], [n, ceil(K / 8)] uint8.

        Raises:
            UserError: as `soft_codes`.
        """
        return pack(sign_codes(self.soft_codes(features)))

    @torch.no_grad()
    def soft_codes(self, features: np.ndarray) -> np.ndarray:
        """Soft codes of frame features [n, M, D], whose signs are the codes, [n, K] float32.

        Raises:
            UserError: the hasher needs another shape, or a feature is not finite.
        """
        soft: np.ndarray = self.hasher(self._as_stored(features)).numpy()
        return soft

    @torch.no_grad()
    def frame_scores(self, features: np.ndarray) -> np.ndarray:
        """How much the sampler that the hasher was trained with likes to show each frame, [n, M] float32, of
        frame features [n, M, D].

        Raises:
            ValueError: it was trained without a Grade-Net.
            UserError: as `soft_codes`.
        """
        if self.grade_net is None:
            raise ValueError("this hasher has no Grade-Net")
        embedded = self.hasher.embed(self.hasher.center(self._as_stored(features)))
        scores: np.ndarray = self.grade_net(embedded).numpy()
        return scores

    def _as_stored(self, features: np.ndarray) -> Tensor:
        """Stored features are float16, and so the hasher has learnt from these."""
        config = self.hasher.config
        if features.ndim != 3 or features.shape[1:] != (config.frames, config.feature_size):
            raise UserError(
                f"features of shape {list(features.shape)}; allowed is [videos, {config.frames}, {config.feature_size}]"
            )
        rounded = torch.from_numpy(np.asarray(features, dtype=np.float16)).float()
        if not torch.isfinite(rounded).all():
            raise UserError("features are not all finite")
        return rounded

    def share_backbone(self, other: VideoEncoder) -> None:
        """Use the backbone of another encoder whose features are made alike, which saves loading it again."""
        self._backbone = other._backbone


def backbone_of(
    features: FeatureMeta,
    device: torch.device,
    *,
    model: bytes | None = None,
    trust_torchscript: bool = False,
) -> Backbone:
    """The backbone that made features, with the very same weights, run by the same engine in the same
    precision.

    Args:
        features: how they were made.
        device: for a backbone that torch runs.
        model: the file of the user's image model that made them; None if a package has their backbone, or if
            it is gone.
        trust_torchscript: run that model even if it is TorchScript, a program.

    Raises:
        UserError: they were not made from videos, the backbone has other weights now or is gone, or the
            engine or the precision is not to be had here.
    """
    from ssvh_model.video.backbones import load_backbone, load_own_backbone
    from ssvh_model.video.own_models import OwnModel

    if not features.weights_sha256 or not features.size:
        raise UserError(
            f"this hasher's features were not made from videos here ({features.backbone or 'of unknown origin'}); "
            "allowed are feature files"
        )
    if features.model_file:
        if model is None:
            raise UserError(
                f"{features.model_file} is not beside the hasher any more: it is {features.backbone} ({features.weights_sha256[:12]}), "
                "which videos must pass; stored features can be encoded without it"
            )
        own = OwnModel(
            features.backbone,
            model,
            features.mean,
            features.std,
            features.colours,
            features.architecture,
            trust_torchscript,
        )
        if own.sha256 != features.weights_sha256:  # before it is loaded, perhaps run
            raise UserError(
                f"{features.model_file}: has the hash {own.sha256[:12]}; the hasher was trained with {features.backbone}, "
                f"{features.weights_sha256[:12]}"
            )
        return load_own_backbone(
            own, size=features.size, device=device, engine=features.engine, precision=features.precision
        )
    backbone = load_backbone(
        features.backbone,
        size=features.size,
        device=device,
        engine=features.engine,
        precision=features.precision,
    )
    if backbone.weights_sha256 != features.weights_sha256:
        raise UserError(
            f"backbone {features.backbone}: these weights are not those that the hasher was trained with"
        )
    return backbone
