"""The names that a backbone may have, known without loading any network."""

from __future__ import annotations

from pathlib import PurePath

EFFICIENTNETS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
NAMED = EFFICIENTNETS
TIMM_PREFIX = "timm/"
# Endings of model files of the user's own.
ONNX, SAFETENSORS, TORCHSCRIPT = ".onnx", ".safetensors", (".pt", ".ts")
OWN_ENDINGS = (ONNX, SAFETENSORS, *TORCHSCRIPT)


def is_of_a_package(name: str) -> bool:
    """Whether a backbone comes with a package, weights and all."""
    return name in NAMED or is_of_timm(name)


def is_of_timm(name: str) -> bool:
    """Whether a backbone is a model of the package timm."""
    return name.startswith(TIMM_PREFIX) and len(name) > len(TIMM_PREFIX)


def is_own_model(name: str) -> bool:
    """Whether this is the name or path of a model file of the user's own."""
    return ending_of(name) in OWN_ENDINGS and not is_of_timm(name)


def ending_of(name: str) -> str:
    """Of a file, in small letters, with its dot."""
    return PurePath(name).suffix.lower()


def packaged_names() -> str:
    """Those of packages, as a message lists them."""
    return f"{', '.join(NAMED)} and {TIMM_PREFIX}<model>"


def allowed_names() -> str:
    """All of them, as a message lists them."""
    return f"{', '.join(NAMED)}, {TIMM_PREFIX}<model> and the path of a file that ends in {', '.join(OWN_ENDINGS)}"
