"""A single video is encoded as the videos of the feature file were, whatever ran their backbone."""

from __future__ import annotations

import os
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.index.video_encoder import VideoEncoder
from ssvh_model.manifest import Video
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.hasher_file import load_saved_hasher, read_carried_model, save_hasher
from ssvh_model.model.precision import best_precision
from ssvh_model.progress import no_progress
from ssvh_model.video.backbones import load_backbone, load_own_backbone
from ssvh_model.video.extraction import extract_features
from ssvh_model.video.own_models import OwnModel
from tests.hashers import write_hasher
from tests.onnx_models import small_network

CPU = torch.device("cpu")
FRAMES, NAMES = 4, ("decord_flipping_a_pancake.mkv", "mmaction2_test.avi")


@pytest.mark.parametrize(
    ("engine", "precision"),
    [("torch", "float32"), ("torch", "bfloat16"), ("openvino", "float32"), ("openvino", "bfloat16")],
)
def test_features_of_a_video_are_those_of_the_feature_file(
    shared: Path, tmp_path: Path, engine: str, precision: str
) -> None:
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    lacks = best_precision(CPU) == "float32" or "ONEDNN_MAX_CPU_ISA" in os.environ
    if (engine, precision) == ("openvino", "bfloat16") and lacks:
        pytest.skip("no bfloat16 here")
    folder = shared / "data" / "decoder_fixtures"
    extract_features(
        [Video(name, name, split="train") for name in NAMES],
        folder,
        load_backbone("efficientnet_lite0", size=64, device=CPU, engine=engine, precision=precision),
        frames=FRAMES,
        batch_size=3,
        thumbnail=32,
        folder=tmp_path,
        workers=2,
        progress=no_progress,
    )
    file = FeatureFile(tmp_path / "features.h5")
    assert (file.meta.engine, file.meta.precision) == (engine, precision)
    config = HasherConfig(
        feature_size=1280, frames=FRAMES, bits=16, width=32, layers=1, heads=2, mlp_ratio=2.0,
        position_scale=0.1, pooling="values",
    )  # fmt: skip
    encoder = VideoEncoder(VideoHasher(config).eval(), file.meta)
    for row, name in enumerate(NAMES):
        stored, found = file.read([row])[0].numpy(), encoder.frame_features(folder / name)
        # torch sums up in another order where other frames are in the batch; bfloat16 shows it.
        np.testing.assert_allclose(found, stored, rtol=0, atol=0 if engine == "openvino" else 0.1)


def test_torchscript_that_a_hasher_carries_runs_only_if_it_is_trusted(shared: Path, tmp_path: Path) -> None:
    content = BytesIO()
    torch.jit.save(torch.jit.script(small_network(6)), content)
    own = OwnModel("mine.pt", content.getvalue(), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), trust_torchscript=True)
    with pytest.warns(UserWarning, match=r"mine\.pt is TorchScript: a program"):
        meta = load_own_backbone(own, size=32, device=CPU).meta
    (tmp_path / "mine.pt").write_bytes(content.getvalue())
    folder = write_hasher(tmp_path / "hasher", meta=meta)
    save_hasher(folder, load_saved_hasher(folder)[0], meta, tmp_path / "mine.pt")
    hasher, features = load_saved_hasher(folder)
    carried = read_carried_model(folder, features)
    clip = shared / "data/decoder_fixtures" / NAMES[0]
    with pytest.raises(
        UserError, match=r"mine\.pt: is TorchScript, a program .* only if you say that you trust it"
    ):
        VideoEncoder(hasher, features, carried).code(clip)
    with pytest.warns(UserWarning, match="is TorchScript"):
        assert VideoEncoder(hasher, features, carried, trust_torchscript=True).code(clip).shape == (2,)
    with pytest.raises(
        UserError, match=r"backbone\.pt: has the hash .*; the hasher was trained with mine\.pt"
    ):
        VideoEncoder(hasher, features, content.getvalue() + b"0", trust_torchscript=True).code(clip)
    with pytest.raises(UserError, match=r"backbone\.pt is not beside the hasher any more: it is mine\.pt"):
        VideoEncoder(hasher, features, None, trust_torchscript=True).code(clip)


def test_features_of_an_engine_that_is_not_here_are_refused(tmp_path: Path) -> None:
    from ssvh_model.features import FeatureMeta

    weights = load_backbone("efficientnet_lite0", size=64, device=CPU).weights_sha256
    meta = FeatureMeta("efficientnet_lite0", weights, 64, engine="tensorrt")
    encoder = VideoEncoder(*load_saved_hasher(write_hasher(tmp_path, meta=meta)))
    assert encoder.features == meta
    with pytest.raises(UserError, match=r"features\.engine: 'tensorrt'"):
        encoder.frame_features(tmp_path / "clip.mp4")
