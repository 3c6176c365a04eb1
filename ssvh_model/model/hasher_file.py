"""A hasher as it goes into service: its weights, what its features must be, and the image model that makes
them if that is the user's own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from torch import Tensor, nn

from ssvh_model.errors import UserError
from ssvh_model.features import MODEL_FILE, FeatureMeta
from ssvh_model.files import atomic_path, check_regular, sha256_of
from ssvh_model.model.grade_net import GradeNet
from ssvh_model.model.hasher import HasherConfig, VideoHasher

WEIGHTS = "hasher.safetensors"
DESCRIPTION = "hasher.json"
GRADE_NET = "grade_net.safetensors"
MOST_FRAMES = 100_000  # the only size that the weights do not tell


def save_hasher(
    folder: Path,
    hasher: VideoHasher,
    features: FeatureMeta,
    model_file: Path | None = None,
    grade_net: GradeNet | None = None,
) -> None:
    """Write `hasher.safetensors` and `hasher.json` to `folder`, and beside them the user's image model and
    the sampler's network.

    Args:
        folder: made if needed.
        hasher: the trained hasher.
        features: how the features that it was trained on were made; it can't be used with others.
        model_file: of the user's image model that made them; None for a backbone of a package, or for a
            hasher that is to encode features only.
        grade_net: that was trained with the hasher; it chooses frames that people are shown. None if there
            was none.
    """
    _save_weights(folder / WEIGHTS, hasher)
    (folder / GRADE_NET).unlink(missing_ok=True)
    if grade_net is not None:
        _save_weights(folder / GRADE_NET, grade_net)
    with atomic_path(folder / DESCRIPTION) as temporary:
        description = {"hasher": asdict(hasher.config), "features": asdict(features)}
        temporary.write_text(json.dumps(description, indent=2) + "\n")
    if model_file is not None:
        with atomic_path(folder / features.model_file) as temporary:
            shutil.copyfile(model_file, temporary)


def _save_weights(path: Path, network: nn.Module) -> None:
    from safetensors.torch import save_file

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(weights, temporary)


def load_saved_hasher(folder: Path) -> tuple[VideoHasher, FeatureMeta]:
    """Read what `save_hasher` wrote: the hasher in evaluation mode on the CPU, and what its features must be.

    Nothing in the files is executed, and no more memory is asked for than the weights file is long.

    Raises:
        UserError: a file is missing, damaged or does not fit the other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        for name in (DESCRIPTION, WEIGHTS):
            check_regular(folder / name)
        description = json.loads((folder / DESCRIPTION).read_text())
        config = HasherConfig(**description["hasher"])
        features = FeatureMeta(**description["features"])
        weights = load_file(folder / WEIGHTS)
        _check_sizes(config, weights)
        hasher = VideoHasher(config)
        hasher.load_state_dict(weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, SafetensorError) as error:
        raise UserError(f"{folder}: not a readable hasher ({' '.join(str(error).split())[:200]})") from error
    return hasher.eval(), features


def _check_sizes(config: HasherConfig, weights: Mapping[str, Tensor]) -> None:
    """Make sure that the large weights are of the described sizes, before memory for these is asked for.

    Raises:
        ValueError, TypeError: they are not.
    """
    if not 1 <= config.frames <= MOST_FRAMES:
        raise ValueError(f"frames is {config.frames}; allowed are 1 to {MOST_FRAMES}")
    if not 1 <= config.layers <= len(weights):
        raise ValueError(f"layers is {config.layers}, but there are {len(weights)} weights")
    if not 1 <= config.heads <= config.width:
        raise ValueError(f"heads is {config.heads}; allowed are 1 to {config.width}, the width")
    attended = 3 * (config.width // config.heads * config.heads)
    described = {
        "embedding.weight": (config.width, config.feature_size),
        "hash_layer.linear.weight": (config.trained_bits, config.width),
    }
    if config.training_bits is not None:
        described["compression.projection"] = (config.training_bits, config.bits)
    for layer in range(config.layers):
        block = f"encoder.blocks.{layer}"
        described[f"{block}.attention.query_key_value.weight"] = (attended, config.width)
        if config.mlp_ratio:
            described[f"{block}.mlp.0.weight"] = (int(config.width * config.mlp_ratio), config.width)
        if config.encoder == "state_space":
            described[f"encoder.state_spaces.{layer}.expand.weight"] = (4 * config.width, config.width)
    for name, shape in described.items():
        found = tuple(weights[name].shape)
        if found != shape:
            raise ValueError(f"{name} has the shape {found}; the description asks for {shape}")


def load_grade_net(folder: Path, hasher: VideoHasher) -> GradeNet | None:
    """The network of the sampler that a saved hasher was trained with, in evaluation mode on the CPU.

    None if it is not there, or not readable: codes do without it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = GradeNet(hasher.config.width)
    try:
        check_regular(folder / GRADE_NET)
        network.load_state_dict(load_file(folder / GRADE_NET))
    except (OSError, ValueError, RuntimeError, SafetensorError):
        return None
    return network.eval()


def read_carried_model(folder: Path, features: FeatureMeta) -> bytes | None:
    """The user's image model that lies beside a hasher; None for a backbone of a package, and where it is
    gone.
    """
    path = folder / features.model_file
    return path.read_bytes() if features.model_file and path.is_file() else None


def hasher_files(folder: Path) -> list[Path]:
    """What a copy of a hasher must have: the two files, and the sampler's network and the user's image model
    if there are any.
    """
    return [
        folder / WEIGHTS,
        folder / DESCRIPTION,
        *sorted(folder.glob(GRADE_NET)),
        *sorted(folder.glob(f"{MODEL_FILE}.*")),
    ]


def hasher_digest(folder: Path) -> str:
    """Hex SHA-256 over the hasher's two files: the same for the same codes, another after any change to
    either. The sampler's network makes none.

    The description has the digest of the user's image model, which is compared when that is loaded.

    Raises:
        OSError: a file is missing or can't be read.
    """
    for name in (WEIGHTS, DESCRIPTION):
        check_regular(folder / name)
    parts = f"{WEIGHTS} {sha256_of(folder / WEIGHTS)} {DESCRIPTION} {sha256_of(folder / DESCRIPTION)}"
    return hashlib.sha256(parts.encode()).hexdigest()
