"""The one process that has torch at work: from decoded frames to codes.

`python -m tasks.serving.encoder FILE`, started by `encoding.py`.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssvh_model.errors import UserError
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.model.hasher_file import (
    hasher_digest,
    load_grade_net,
    load_saved_hasher,
    read_carried_model,
)
from ssvh_model.moments.grid import frames_on_grid
from ssvh_model.moments.query import cut_query
from ssvh_model.video.decoding import SampledFrames
from ssvh_model.video.shard_extraction import sizes_for
from tasks.serving.encoding import arrays_of
from tasks.serving.worker import Answer, serve

# The one in service, the next one, and one whose last questions are on their way.
HASHERS_KEPT = 3


class Encoders:
    """Hashers by their digest, those asked for last."""

    def __init__(self) -> None:
        self._encoders: OrderedDict[str, VideoEncoder] = OrderedDict()

    def answer(self, question: dict[str, Any], arrays: dict[str, np.ndarray]) -> Answer:
        """Load a hasher, or encode a video, or a part of a film, with one that is loaded."""
        if question["do"] == "load":
            said = self._load(Path(question["folder"]), question["sha256"], question["trust_torchscript"])
            hasher = self._encoders[question["sha256"]].hasher
            return said, {"mean": hasher.feature_mean.numpy(), "scale": hasher.feature_scale.numpy()}
        encoder = self._encoders.get(question["sha256"])
        if encoder is None:
            return {"gone": True}, {}
        if question["do"] == "features":
            with _one_thread():
                of_film = encoder.features_of(frames_on_grid(arrays["frames"], arrays.get("squares")))
            return {}, {"features": of_film}
        if question["do"] == "codes":
            return {}, {"codes": encoder.codes_of(arrays["features"])}
        if question["do"] == "soft codes":
            return {}, {"codes": encoder.soft_codes(arrays["features"])}
        if question["do"] == "scores":
            return {}, {"scores": encoder.frame_scores(arrays["features"])}
        sampled = SampledFrames(
            arrays["frames"], arrays["indices"], question["frames"], "", arrays.get("squares")
        )
        features = encoder.features_of(sampled)
        found = {"features": features, "code": encoder.codes_of(features[None])[0]}
        for number, cutting in enumerate(question["cuttings"]):
            pictures = arrays.get(f"frames on grid {number}")
            if pictures is None:  # the clip is too short to be cut
                continue
            on_grid = frames_on_grid(pictures, arrays.get(f"squares on grid {number}"))
            cuts = arrays[f"cuts on grid {number}"]
            part = cut_query(encoder, cutting, encoder.features_of(on_grid), cuts, question["seconds"])
            if part is not None:
                found |= {f"{name} {number}": getattr(part, name) for name in arrays_of(cutting)}
        return {}, found

    def _load(self, folder: Path, sha256: str, trust_torchscript: bool) -> dict[str, Any]:
        if sha256 not in self._encoders:
            try:
                found = hasher_digest(folder)
            except OSError as error:  # another version of the index may have taken its place
                raise UserError(f"{folder}: not readable ({error.strerror})") from error
            if found != sha256:
                raise UserError(f"{folder}: not the hasher that made the codes of this index")
            hasher, features = load_saved_hasher(folder)
            model = read_carried_model(folder, features)
            encoder = VideoEncoder(
                hasher,
                features,
                model,
                grade_net=load_grade_net(folder, hasher),
                trust_torchscript=trust_torchscript,
            )
            for other in self._encoders.values():
                if other.features == encoder.features:
                    encoder.share_backbone(other)
            self._encoders[sha256] = encoder
        self._encoders.move_to_end(sha256)
        while len(self._encoders) > HASHERS_KEPT:
            self._encoders.popitem(last=False)
        encoder = self._encoders[sha256]
        said: dict[str, Any] = {
            "frames": encoder.hasher.config.frames,
            "meta": vars(encoder.features),
            "scores_frames": encoder.grade_net is not None,
        }
        try:
            longer_side, square = sizes_for(encoder.backbone)
        except UserError as error:
            return {**said, "cannot": str(error)}
        return {**said, "longer_side": longer_side, "square": square}


@contextmanager
def _one_thread() -> Iterator[None]:
    """As `ssvh add` runs the backbone: the last digits are those of its features, and other processors are
    left to whoever searches meanwhile.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    serve(int(sys.argv[-1]), Encoders().answer)
