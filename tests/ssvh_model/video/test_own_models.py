"""Image models of the user's own, in every format and by every engine that runs it; and files that are no
such model.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from ssvh_model.errors import UserError
from ssvh_model.video.backbones import Backbone, load_own_backbone
from ssvh_model.video.engines.engine import best_engine
from ssvh_model.video.own_models import OwnModel, read_model_file
from tests.onnx_models import small_network, write_onnx
from tests.ssvh_model.video.engines_needed import need

CPU = torch.device("cpu")
SIZE = 32
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
ONNX_ENGINES = ["openvino", "onnxruntime"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder for exports."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def any_onnx_engine() -> str:
    engine = best_engine(CPU, onnx=True)
    need(engine)
    return engine


def script(network: nn.Module) -> bytes:
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(network), content)
    return content.getvalue()


def own(name: str, content: bytes, **settings: object) -> OwnModel:
    return OwnModel(name, content, **{"mean": MEAN, "std": STD, **settings})  # type: ignore[arg-type]


def load(model: OwnModel, engine: str = "torch", size: int = SIZE) -> Backbone:
    return load_own_backbone(model, size=size, device=CPU, engine=engine)


def frames(count: int) -> Tensor:
    return torch.rand(count, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1)) * 255


def expected(count: int, *, colours: str = "rgb") -> Tensor:
    """By the formula."""
    planes = ((frames(count) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return small_network()(planes.flip(1) if colours == "bgr" else planes).mean((2, 3))


@pytest.mark.parametrize("engine", ONNX_ENGINES)
@pytest.mark.parametrize(
    "written",
    [
        {},
        {"pooled": True},
        {"size": SIZE},
        {"size": SIZE, "frames": 1},
        {"size": SIZE, "frames": 4, "pooled": True},
    ],
    ids=str,
)
def test_onnx_gives_what_the_formula_gives(engine: str, written: dict) -> None:
    need(engine)
    backbone = load(own("mine.onnx", write_onnx(small_network(), **written)), engine)
    assert (backbone.name, backbone.feature_size, backbone.engine) == ("mine.onnx", 5, engine)
    for count in (1, 8, 11):
        found = backbone.features(frames(count))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected(count), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("engine", ["torch", *ONNX_ENGINES])
def test_torchscript_gives_what_the_formula_gives(engine: str) -> None:
    need(engine)
    with pytest.warns(
        UserWarning, match=r"mine\.pt is TorchScript: a program, which runs with all that you may do"
    ):
        backbone = load(own("mine.pt", script(small_network()), trust_torchscript=True), engine)
    torch.testing.assert_close(backbone.features(frames(9)), expected(9), atol=1e-4, rtol=1e-4)
    assert backbone.feature_size == 5


@pytest.mark.parametrize("engine", ["torch", *ONNX_ENGINES])
def test_colours_come_in_the_order_that_the_model_takes(engine: str) -> None:
    need(engine)
    if engine == "torch":
        model = own("mine.ts", script(small_network()), trust_torchscript=True, colours="bgr")
    else:
        model = own("mine.onnx", write_onnx(small_network()), colours="bgr")
    found = load(model, engine).features(frames(3))
    torch.testing.assert_close(found, expected(3, colours="bgr"), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, expected(3), atol=1e-2)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_weights_in_safetensors_are_the_packages_s_network_with_these_weights(engine: str) -> None:
    need(engine)
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(3)
    network = EfficientNet.from_name("efficientnet-lite0", num_classes=7).eval()
    model = own("fine-tuned.safetensors", save(dict(network.state_dict())), architecture="efficientnet_lite0")
    backbone = load(model, engine)
    assert backbone.feature_size == 1280 and backbone.meta.architecture == "efficientnet_lite0"
    planes = ((frames(3) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        plain = network.extract_features(planes).mean((2, 3))
    torch.testing.assert_close(backbone.features(frames(3)), plain, atol=1e-4, rtol=1e-3)


def test_features_say_by_which_file_and_how_they_were_made() -> None:
    engine = any_onnx_engine()
    content = write_onnx(small_network())
    metas = [
        load(model, engine).meta
        for model in (
            own("mine.onnx", content),
            own("mine.onnx", content, std=(0.2, 0.3, 0.5)),
            own("mine.onnx", content, colours="bgr"),
            own("mine.onnx", write_onnx(small_network(6))),
        )
    ]
    assert len(set(metas)) == 4, "one of them would be taken for another"
    assert metas[0] == load(own("mine.onnx", content), engine).meta
    assert metas[0].model_file == "backbone.onnx"
    assert "mean [0.4, 0.5, 0.6]" in str(metas[0])


def test_exports_of_a_model_with_other_colours_or_scaling_are_not_mixed() -> None:
    need("openvino")
    content = script(small_network())
    found = [
        load(own("mine.pt", content, trust_torchscript=True, **settings), "openvino").features(frames(2))
        for settings in ({}, {"colours": "bgr"}, {"mean": (0, 0, 0)})
    ]
    assert not torch.allclose(found[0], found[1], atol=1e-3)
    assert not torch.allclose(found[0], found[2], atol=1e-3)


class Tokens(nn.Module):
    """A network whose output has another form."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()

    def forward(self, planes: Tensor) -> Tensor:
        return self.network(planes).flatten(2)


def endless() -> nn.Sequential:
    network = small_network()
    with torch.no_grad():
        network[0].bias[2] = float("inf")  # ReLU makes 0 of NaN in some engines
    return network


def lite0_weights(change: Callable[[dict[str, Tensor]], None]) -> bytes:
    from efficientnet_lite_pytorch import EfficientNet

    weights = dict(EfficientNet.from_name("efficientnet-lite0").state_dict())
    change(weights)
    return save(weights)


WRONG_ONNX = {
    "a pickle": (lambda: pickle.dumps({"weights": [1, 2]}), "is not an ONNX model that can be read"),
    "truncated": (lambda: write_onnx(small_network())[:200], "is not an ONNX model that can be read"),
    "another size": (
        lambda: write_onnx(small_network(), 48),
        r"takes 'frames' \[any, 3, 48, 48\]; allowed is one input \[frames, 3, 32, 32\] of float32",
    ),
    "other colours": (
        lambda: write_onnx(nn.Sequential(nn.Conv2d(4, 5, 3, stride=2)), colours=4),
        r"takes 'frames' \[any, 4, any, any\]; allowed is one input \[frames, 3, 32, 32\]",
    ),
    "not finite": (lambda: write_onnx(endless()), "features of a black frame that are not all finite"),
    "one row for all frames": (
        lambda: write_onnx(small_network(), pooled=True, one_row=True),
        r"gives \[1, 40\] of 8 frames; allowed is a row a frame",
    ),
    "weights elsewhere": (
        lambda: write_onnx(small_network(), outside="weights.data"),
        "has its weights in another file; allowed is one file",
    ),
}


@pytest.mark.parametrize("engine", ONNX_ENGINES)
@pytest.mark.parametrize("what", WRONG_ONNX)
def test_onnx_that_can_not_be_used_is_one_line(
    engine: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(engine)
    monkeypatch.chdir(tmp_path)
    # Where it would be found: its content is in no digest.
    Path("weights.data").write_bytes(small_network()[0].weight.detach().numpy().tobytes())
    make, said = WRONG_ONNX[what]
    with pytest.raises(UserError, match=rf"^features\.backbone: mine\.onnx: .*{said}") as caught:
        load(own("mine.onnx", make()), engine)
    assert "\n" not in str(caught.value) and "src/" not in str(caught.value)


WRONG_OTHERS = {
    "a pickle": ("mine.pt", lambda: pickle.dumps([1]), "is not TorchScript, .*; pickles are never loaded"),
    "truncated TorchScript": ("mine.ts", lambda: script(small_network())[:300], "is not TorchScript"),
    "tokens": (
        "mine.pt",
        lambda: script(Tokens()),
        r"gives shape \[1, 5, 225\]; allowed is one array of shape \[frames, D\] or \[frames, D, h, w\]",
    ),
    "not finite": ("mine.pt", lambda: script(endless()), "not all finite"),
    "no colours": ("mine.pt", lambda: script(nn.Conv2d(1, 2, 3)), r"can't be run on frames \[n, 3, 32, 32\]"),
    "truncated weights": (
        "mine.safetensors",
        lambda: lite0_weights(lambda weights: None)[:1000],
        "is not a whole safetensors file",
    ),
    "one missing": (
        "mine.safetensors",
        lambda: lite0_weights(lambda weights: weights.__delitem__("_conv_stem.weight")),
        "has no weights '_conv_stem.weight', which efficientnet_lite0 needs",
    ),
    "one too many": (
        "mine.safetensors",
        lambda: lite0_weights(lambda weights: weights.update(extra=torch.zeros(1))),
        "has weights 'extra', which efficientnet_lite0 does not know",
    ),
    "another shape": (
        "mine.safetensors",
        lambda: lite0_weights(lambda weights: weights.update({"_conv_stem.weight": torch.zeros(8, 3, 3, 3)})),
        r"has '_conv_stem.weight' of shape \[8, 3, 3, 3\]; allowed for efficientnet_lite0 is \[32, 3, 3, 3\]",
    ),
}


@pytest.mark.filterwarnings("ignore:.*is TorchScript")
@pytest.mark.parametrize("engine", ["torch", *ONNX_ENGINES])
@pytest.mark.parametrize("what", WRONG_OTHERS)
def test_other_files_that_can_not_be_used_are_one_line(engine: str, what: str) -> None:
    need(engine)
    name, make, said = WRONG_OTHERS[what]
    architecture = "efficientnet_lite0" if name.endswith("safetensors") else ""
    model = own(name, make(), architecture=architecture, trust_torchscript=True)
    with pytest.raises(UserError, match=rf"^features\.backbone: {re.escape(name)}: .*{said}") as caught:
        load(model, engine)
    assert "\n" not in str(caught.value)


class WouldRun:
    """What unpickling it would do shows."""

    ran = False

    def __reduce__(self) -> tuple:
        return setattr, (WouldRun, "ran", True)


@pytest.mark.filterwarnings("ignore:.*is TorchScript")
@pytest.mark.parametrize("name", ["mine.onnx", "mine.pt", "mine.safetensors"])
def test_nothing_in_a_file_is_unpickled(name: str) -> None:
    model = own(
        name,
        pickle.dumps(WouldRun()),
        architecture="efficientnet_lite0" if name.endswith("safetensors") else "",
        trust_torchscript=True,
    )
    for engine in ("torch", "openvino"):
        with pytest.raises(UserError):
            load(model, engine)
    assert not WouldRun.ran


def test_what_must_be_said_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"is TorchScript, a program .*running\.trust_torchscript: true"):
        own("mine.pt", script(small_network()))
    with pytest.raises(UserError, match=r"features\.own\.architecture\); allowed are efficientnet_lite0"):
        own("mine.safetensors", b"")
    with pytest.raises(UserError, match=r"mine\.pth: allowed are files that end in \.onnx"):
        own("mine.pth", b"")
    with pytest.raises(UserError, match="colours 'yuv'; allowed are rgb and bgr"):
        own("mine.onnx", b"", colours="yuv")
    with pytest.raises(UserError, match=r"mine\.onnx: is an empty file"):
        own("mine.onnx", b"")
    with pytest.raises(UserError, match="std above 0"):
        own("mine.onnx", b"", std=(1.0, 0.0, 1.0))
    with pytest.raises(UserError, match=r"mine\.onnx: is ONNX, which features\.engine 'torch' does not run"):
        load(own("mine.onnx", write_onnx(small_network())), "torch")
    with pytest.raises(UserError, match=r"features\.own\.architecture: 'resnet'; allowed are"):
        load(own("mine.safetensors", b"0", architecture="resnet"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.onnx: no such model file"):
        read_model_file(tmp_path / "mine.onnx")
    with pytest.raises(UserError, match="can't be read"):
        read_model_file(tmp_path)
