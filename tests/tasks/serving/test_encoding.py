"""The encoder process: which hashers it has, and what happens when it dies."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.model.hasher_file import hasher_digest, load_saved_hasher, save_hasher
from ssvh_model.video.backbones import load_backbone, load_own_backbone
from ssvh_model.video.own_models import OwnModel
from tasks.serving.decoding import Frames
from tasks.serving.encoding import Encoding, HasherGone, LoadedHasher
from tasks.serving.problems import NO_ENCODER, Problem
from tests.hashers import write_hasher
from tests.onnx_models import small_network

FRAMES = Frames(
    {"frames": np.full((4, 32, 32, 3), 90, dtype=np.uint8), "indices": np.arange(4, dtype=np.int32)},
    4,
    1.0,
    "",
    "mov",
)


@pytest.fixture(scope="module")
def encoding() -> Iterator[Encoding]:
    started = Encoding()
    yield started
    started.stop()


def loaded(encoding: Encoding, folder: Path) -> LoadedHasher:
    return encoding.load(folder, hasher_digest(folder))


@pytest.mark.slow
def test_a_process_that_died_is_started_again_with_the_hasher_that_is_asked_for(
    encoding: Encoding, tmp_path: Path
) -> None:
    backbone = load_backbone("efficientnet_lite0", size=64, device=torch.device("cpu"))
    meta = FeatureMeta(backbone.name, backbone.weights_sha256, 64)
    hasher = loaded(encoding, write_hasher(tmp_path / "hasher", feature_size=1280, meta=meta))
    assert (hasher.frames, hasher.longer_side, hasher.square, hasher.cannot) == (4, 512, None, "")
    first = encoding.encode(hasher, FRAMES)
    assert first.code.shape == (2,) and first.features.shape == (4, 1280)
    workers = [child for child in psutil.Process().children() if "tasks.serving.encoder" in child.cmdline()]
    assert len(workers) == 1
    workers[0].kill()
    psutil.wait_procs(workers, timeout=120)
    np.testing.assert_array_equal(encoding.encode(hasher, FRAMES).code, first.code)

    others = [
        loaded(encoding, write_hasher(tmp_path / f"other-{seed}", seed=seed, feature_size=1280, meta=meta))
        for seed in (2, 3, 4)
    ]
    np.testing.assert_array_equal(encoding.encode(hasher, FRAMES).code, first.code)  # it is loaded again
    assert any((encoding.encode(other, FRAMES).code != first.code).any() for other in others)
    for other in others:
        loaded(encoding, other.folder)
    (tmp_path / "hasher" / "hasher.json").unlink()
    with pytest.raises(HasherGone):
        encoding.encode(hasher, FRAMES)


def test_a_hasher_whose_features_are_not_made_of_videos_says_so(encoding: Encoding, tmp_path: Path) -> None:
    hasher = loaded(encoding, write_hasher(tmp_path / "hasher", meta=FeatureMeta("", "", 0)))
    assert "not made from videos" in hasher.cannot
    with pytest.raises(Problem) as error:
        encoding.encode(hasher, FRAMES)
    assert error.value.kind is NO_ENCODER


@pytest.mark.parametrize("trusted", [False, True])
def test_the_user_s_own_image_model_runs_in_the_process_if_it_is_trusted(
    tmp_path: Path, trusted: bool
) -> None:
    content = BytesIO()
    torch.jit.save(torch.jit.script(small_network(6)), content)
    (tmp_path / "mine.pt").write_bytes(content.getvalue())
    own = OwnModel("mine.pt", content.getvalue(), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), trust_torchscript=True)
    with pytest.warns(UserWarning, match="is TorchScript"):
        meta = load_own_backbone(own, size=32, device=torch.device("cpu")).meta
    folder = write_hasher(tmp_path / "hasher", feature_size=6, meta=meta)
    save_hasher(folder, load_saved_hasher(folder)[0], meta, tmp_path / "mine.pt")
    encoding = Encoding(trust_torchscript=trusted)
    try:
        hasher = loaded(encoding, folder)
        assert hasher.meta == meta
        if trusted:
            assert encoding.encode(hasher, FRAMES).features.shape == (4, 6)
        else:
            assert "is TorchScript, a program" in hasher.cannot
    finally:
        encoding.stop()


def test_other_files_than_those_that_made_the_codes_are_refused(encoding: Encoding, tmp_path: Path) -> None:
    folder = write_hasher(tmp_path / "hasher")
    with pytest.raises(UserError, match="not the hasher that made the codes"):
        encoding.load(folder, "00")
