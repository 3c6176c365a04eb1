"""What runs a backbone: each engine beside torch in float32, which is the plain way."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from ssvh_model.errors import UserError
from ssvh_model.model.precision import best_precision
from ssvh_model.video.backbones import load_backbone
from ssvh_model.video.engines.engine import PACKAGES, best_engine, best_precision_of, start_engine
from ssvh_model.video.engines.exports import exported, exports_folder
from ssvh_model.video.engines.network import ImageNetwork
from tests.conftest import REPOSITORY
from tests.ssvh_model.video.engines_needed import need

CPU = torch.device("cpu")
SIZE = 64
OTHERS = ["openvino", "onnxruntime"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small() -> ImageNetwork:
    """A network of two layers whose weights are always the same."""

    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )

    return ImageNetwork(build, 5, "00ff", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


def start(engine: str, precision: str = "float32", network: ImageNetwork | None = None):  # type: ignore[no-untyped-def]
    return start_engine(engine, network or small(), size=SIZE, precision=precision, device=CPU)


def frames(count: int) -> Tensor:
    return torch.rand(count, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("engine", OTHERS)
@pytest.mark.parametrize("count", [1, 8, 19])
def test_an_engine_gives_what_the_formula_gives(engine: str, count: int) -> None:
    need(engine)
    mean, std = torch.tensor(small().mean), torch.tensor(small().std)
    planes = ((frames(count) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = small().build()(planes)
    torch.testing.assert_close(start(engine)(frames(count)), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(start("torch")(frames(count)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("engine", OTHERS)
def test_the_default_backbone_is_the_same_network_in_every_engine(engine: str) -> None:
    need(engine)
    plain = load_backbone("efficientnet_lite0", size=SIZE, device=CPU)
    fast = load_backbone("efficientnet_lite0", size=SIZE, device=CPU, engine=engine)
    assert (fast.engine, fast.precision, fast.feature_size) == (engine, "float32", plain.feature_size)
    assert fast.weights_sha256 == plain.weights_sha256
    torch.testing.assert_close(fast.features(frames(11)), plain.features(frames(11)), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bfloat16_is_near_and_is_what_it_says(engine: str) -> None:
    need(engine)
    if engine == "openvino" and "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("OpenVINO goes by what the processor has, not by what it may use")
    if engine == "openvino" and best_precision(CPU) == "float32":
        with pytest.raises(UserError, match=r"features\.precision: 'bfloat16'.* allowed here is 'float32'"):
            start(engine, "bfloat16")
        return
    plain = load_backbone("efficientnet_lite0", size=SIZE, device=CPU).features(frames(9))
    rough = load_backbone("efficientnet_lite0", size=SIZE, device=CPU, engine=engine, precision="bfloat16")
    found = rough.features(frames(9))
    assert rough.precision == "bfloat16" and found.dtype == torch.float32
    assert cosine_similarity(found, plain).min() > 0.98
    assert (found - plain).abs().max() > 1e-3, "float32 would be nearer"


def test_in_openvino_company_and_threads_change_nothing() -> None:
    need("openvino")
    threads = torch.get_num_threads()
    together = start("openvino")(frames(21))
    for number in (1, 3):
        torch.set_num_threads(number)
        engine = start("openvino")
        with ThreadPoolExecutor(4) as pool:
            alone = list(pool.map(engine, frames(21).split(1)))
        assert torch.equal(torch.cat(alone), together)
    torch.set_num_threads(threads)


def never() -> nn.Module:
    raise AssertionError("there is an export")


@pytest.mark.parametrize("engine", OTHERS)
def test_it_is_exported_once_and_anew_for_other_weights(engine: str) -> None:
    need(engine)
    first = start(engine)(frames(3))
    assert torch.equal(start(engine, network=replace(small(), build=never))(frames(3)), first)
    with pytest.raises(AssertionError, match="there is an export"):
        start(engine, network=replace(small(), build=never, weights_sha256="11"))


def test_a_damaged_export_is_made_anew_and_a_folder_that_can_not_be_written_to_does_no_harm(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def export() -> bytes:
        calls.append(1)
        return b"network"

    assert [exported({"a": 1}, export) for _ in range(2)] == [b"network"] * 2 and len(calls) == 1
    (kept,) = exports_folder().iterdir()  # type: ignore[union-attr]
    whole = kept.read_bytes()
    for damaged in (b"", whole[:-1], whole[:-1] + b"?"):
        kept.write_bytes(damaged)
        assert exported({"a": 1}, export) == b"network" and kept.read_bytes() == whole
    assert len(calls) == 4
    assert exported({"a": 2}, export) == b"network" and len(calls) == 5
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    assert exported({"a": 1}, export) == b"network" and len(calls) == 6


ALONE = """
import sys
from pathlib import Path

asked = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"):
        asked.append((event, arguments))
sys.addaudithook(watch)

import torch
from ssvh_model.video.backbones import load_backbone

backbone = load_backbone("efficientnet_lite0", size=32, device=torch.device("cpu"), engine="openvino")
assert backbone.features(torch.zeros(1, 32, 32, 3)).shape == (1, 1280)
import time
time.sleep(0.5)  # it would be a thread
assert not asked, asked
left = [path for path in Path.home().rglob("*") if path.is_file() and "exports" not in path.parts]
assert not left, left
"""


SIGNALLED = """
import os, signal
from tests.ssvh_model.video.test_engines import start

told = []
signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
first, second = start("openvino"), start("openvino")
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
assert told == [signal.SIGUSR1]
"""


def test_a_signal_finds_a_stack_after_two_openvino_engines_have_ended(tmp_path: Path) -> None:
    """OpenVINO's plugin for processors gives the thread a stack for signals, which it frees: the next ctrl-C
    was a crash.
    """
    need("openvino")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", SIGNALLED], env=environment, cwd=tmp_path, check=True)


@pytest.mark.slow
def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    """Left alone, it notes in the home folder who the user is, and tells of every network that it
    converts.
    """
    need("openvino")
    (tmp_path / "home").mkdir()
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY)}
    for name in ("XDG_CACHE_HOME", "CI", "TF_BUILD", "JENKINS_URL"):  # in CI it would hold back
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", ALONE], env=environment, cwd=tmp_path, check=True)


def test_what_is_not_to_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"features\.engine: 'tensorrt'; allowed are 'torch', 'openvino'"):
        start("tensorrt")
    with pytest.raises(UserError, match=r"features\.precision: 'float16'; allowed are 'float32'"):
        start("torch", "float16")
    for engine in OTHERS:
        for package in PACKAGES[engine]:
            monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
        with pytest.raises(
            UserError,
            match=rf"features\.engine: '{engine}' .*{engine} is not installed: pip install 'autossvh\[{engine}\]'",
        ):
            start(engine)
    assert best_engine(CPU) == "torch"


def test_onnxruntime_has_float32_only() -> None:
    assert best_precision_of("onnxruntime", CPU) == "float32"
    need("onnxruntime")
    with pytest.raises(UserError, match=r"features\.precision: 'bfloat16'.*'onnxruntime' does not have"):
        start("onnxruntime", "bfloat16")


def test_a_gpu_is_torch_s_and_the_processor_openvino_s_where_it_is() -> None:
    assert best_engine(torch.device("cuda")) == "torch"
    need("openvino")
    assert best_engine(CPU) == "openvino"
    assert best_precision_of("openvino", torch.device("cuda")) == best_precision(CPU)
    assert (
        load_backbone("efficientnet_lite0", size=32, device=torch.device("meta"), engine="openvino").device
        == CPU
    )
