"""Image models of the user's own, out of a file: ONNX, weights in safetensors, TorchScript. Nothing is
unpickled.

ONNX and safetensors are data. TorchScript is a program, which runs only where the user has said so.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ssvh_model.errors import UserError
from ssvh_model.files import check_regular
from ssvh_model.video.backbone_names import (
    ONNX,
    OWN_ENDINGS,
    SAFETENSORS,
    TORCHSCRIPT,
    ending_of,
    is_own_model,
    packaged_names,
)
from ssvh_model.video.engines.network import ImageNetwork, in_a_line

Colours = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class OwnModel:
    """A model file, and what its model wants.

    Attributes:
        name: of the file.
        content: of the file.
        mean, std: of red, green and blue, for pixels of 0 to 1: the mean is subtracted, and then divided by
            the standard deviation.
        colours: order of the planes that the model takes.
        architecture: of weights in safetensors: the network that they are for, a backbone of a package; ""
            for other files.
        trust_torchscript: run TorchScript, which is a program.

    Raises:
        UserError: a value is not possible, or the file is empty, or TorchScript, which is not trusted.
    """

    name: str
    content: bytes
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colours: str = "rgb"
    architecture: str = ""
    trust_torchscript: bool = False

    def __post_init__(self) -> None:
        if not is_own_model(self.name):
            raise UserError(f"{self.name}: allowed are files that end in {', '.join(OWN_ENDINGS)}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UserError(
                f"{self.name}: mean {list(self.mean)} and std {list(self.std)}; allowed are three numbers each, std above 0"
            )
        if self.colours not in get_args(Colours):
            raise UserError(
                f"{self.name}: colours {self.colours!r}; allowed are {' and '.join(get_args(Colours))}"
            )
        if self.ending == SAFETENSORS and not self.architecture:
            raise UserError(
                f"{self.name}: holds weights alone, and which network they are for is not said (features.own.architecture); "
                f"allowed are {packaged_names()}"
            )
        if self.ending in TORCHSCRIPT and not self.trust_torchscript:
            raise UserError(
                f"{self.name}: is TorchScript, a program that would run here with all that you may do; it is loaded only "
                f"if you say that you trust it (running.trust_torchscript: true). {ONNX} needs no trust"
            )
        if not self.content:
            raise UserError(f"{self.name}: is an empty file")

    @property
    def ending(self) -> str:
        """Of the file's name."""
        return ending_of(self.name)

    @property
    def sha256(self) -> str:
        """Hex digest of the file."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Architecture:
    """A network of a package before it has weights.

    Attributes:
        bare: the network.
        classifiers: names of its last layers, whose weights are not needed.
        finished: makes the network that gives features, when `bare` has its weights.
    """

    bare: nn.Module
    classifiers: tuple[str, ...]
    finished: Callable[[nn.Module], nn.Module]


def read_model_file(path: Path) -> bytes:
    """The content of a model file.

    Raises:
        UserError: it is not there, or can't be read.
    """
    try:
        check_regular(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such model file") from None
    except OSError as error:
        raise UserError(f"{path}: a model file that can't be read ({error.strerror})") from None


def own_network(model: OwnModel, size: int, architecture: Callable[[str], Architecture]) -> ImageNetwork:
    """The network of a model file. What it gives is known when it is run: [n, D] is taken as it is, of [n, D,
    h, w] the mean over h and w.

    Args:
        model: the file.
        size: side of the frames that it is to be run on, pixels.
        architecture: makes the network of a package without its weights, by its name.
    """
    if model.ending in TORCHSCRIPT:
        warnings.warn(
            f"{model.name} is TorchScript: a program, which runs with all that you may do, because you said that you trust it",
            stacklevel=3,
        )

    def build() -> nn.Module:
        if model.ending == SAFETENSORS:
            return _with_weights(architecture(model.architecture), model)
        network = _Features(_torchscript(model))
        network.check(size)
        return network

    return ImageNetwork(
        build,
        feature_size=None,
        weights_sha256=model.sha256,
        mean=model.mean,
        std=model.std,
        colours=model.colours,
        architecture=model.architecture,
        onnx=model.content if model.ending == ONNX else None,
    )


class _Features(nn.Module):
    """A network whose maps, if it gives any, are averaged."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.inference_mode()
    def check(self, size: int) -> None:
        """Run the network on a black frame: an engine that exports it would say less clearly what is wrong.

        Raises:
            UserError: it gives something else than features or maps.
        """
        found = self.network(torch.zeros(1, 3, size, size))
        if not isinstance(found, Tensor) or found.ndim not in (2, 4):
            what = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise UserError(f"gives {what}; allowed is one array of shape [frames, D] or [frames, D, h, w]")

    def forward(self, planes: Tensor) -> Tensor:
        found: Tensor = self.network(planes)
        return found.mean((2, 3)) if found.ndim == 4 else found


def _torchscript(model: OwnModel) -> nn.Module:
    try:
        network: nn.Module = torch.jit.load(io.BytesIO(model.content), map_location="cpu")
    except (RuntimeError, ValueError, EOFError) as error:
        raise UserError(
            f"is not TorchScript, which torch.jit.save writes ({in_a_line(error)}); pickles are never loaded"
        ) from error
    return network.eval()


def _with_weights(architecture: Architecture, model: OwnModel) -> nn.Module:
    """The network with the weights of a safetensors file, each of which must fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(model.content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"is not a whole safetensors file ({in_a_line(error)})") from error
    wanted = _without(architecture.classifiers, architecture.bare.state_dict())
    given = _without(architecture.classifiers, weights)
    for name in wanted:
        if name not in given and not name.endswith("num_batches_tracked"):
            raise UserError(f"has no weights {name!r}, which {model.architecture} needs")
    for name, tensor in given.items():
        if name not in wanted:
            raise UserError(f"has weights {name!r}, which {model.architecture} does not know")
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"has {name!r} of shape {list(tensor.shape)}; allowed for {model.architecture} is {list(wanted[name].shape)}"
            )
    architecture.bare.load_state_dict(given, strict=False)  # what is not given is the classifier
    return architecture.finished(architecture.bare.eval())


def _without(classifiers: tuple[str, ...], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    begin = tuple(f"{name}." for name in classifiers)
    return {name: tensor for name, tensor in weights.items() if not name.startswith(begin)}
