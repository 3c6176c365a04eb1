"""Full-state checkpoints: folders that are there whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ssvh_model.clustering.anchors import pack_granularities, unpack_granularities
from ssvh_model.errors import UserError
from ssvh_model.files import check_regular
from ssvh_model.model.autossvh import AutoSSVH, DecoderConfig
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.hasher_file import MOST_FRAMES
from ssvh_model.model.sampler import SamplerConfig
from ssvh_model.training.trainer import Trainer

WEIGHTS = "model.safetensors"
START_WEIGHTS = "start.safetensors"
ZIP = b"PK\3\4"  # how a zip archive begins
TRAINING = "training.pt"
CONFIG = "config.json"
HISTORY = "history.json"

# One row an epoch: the phase, the epoch and whatever was measured.
History = list[dict[str, Any]]
# Of the weights in a checkpoint: those that the training began with, or those that it has come to.
TrainingState = Literal["start", "end"]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that an `AutoSSVH` is built from."""

    hasher: HasherConfig
    decoder: DecoderConfig
    sampler: SamplerConfig

    def build(self) -> AutoSSVH:
        """The model with weights that wait to be loaded."""
        return AutoSSVH(self.hasher, self.decoder, self.sampler)


def save_checkpoint(folder: Path, trainer: Trainer, config: ModelConfig, history: History) -> None:
    """Write the full state of `trainer` to `folder`, replacing what stood there.

    Files: `model.safetensors` the weights, `start.safetensors` those that the training began with,
    `training.pt` the optimizer, random states, epoch and anchors (torch's format, loaded with
    `weights_only=True`), `config.json` what the model is built from, `history.json` one row an epoch.
    """
    from safetensors.torch import save_file

    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    # By way of memory, because torch does not say what kept it from writing a file, such as a full disk.
    state = io.BytesIO()
    torch.save({**trainer.state(), "granularities": pack_granularities(trainer.granularities)}, state)
    try:
        save_file(trainer.weights(), temporary / WEIGHTS)
        save_file(trainer.first_weights, temporary / START_WEIGHTS)
        (temporary / TRAINING).write_bytes(state.getbuffer())
        (temporary / CONFIG).write_text(json.dumps(asdict(config), indent=2) + "\n")
        (temporary / HISTORY).write_text(json.dumps(history, indent=0) + "\n")
        for path in temporary.iterdir():
            with open(path, "rb") as written:
                os.fsync(written.fileno())
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    # A folder can't be renamed onto another: the moment between the two lines is covered by
    # `CheckpointFolder`, which writes each checkpoint under a name of its own.
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def load_config(folder: Path) -> ModelConfig:
    """What the model in a checkpoint is built from.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / CONFIG
    try:
        check_regular(path)
        parts = json.loads(path.read_text())
        return ModelConfig(
            HasherConfig(**parts["hasher"]),
            DecoderConfig(**parts["decoder"]),
            SamplerConfig(**parts["sampler"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable model configuration ({error})") from error


def load_weights(folder: Path, state: TrainingState = "end") -> dict[str, Tensor]:
    """The weights in a checkpoint, or those that its training began with, by name, on the CPU.

    Raises:
        UserError: the file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / (START_WEIGHTS if state == "start" else WEIGHTS)
    try:
        check_regular(path)
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable weights file ({error})") from error


def load_model(folder: Path, state: TrainingState = "end") -> AutoSSVH:
    """The model in a checkpoint, or as its training began, in evaluation mode, on the CPU.

    Raises:
        UserError: a file is missing, damaged or does not fit the other.
    """
    config, weights = load_config(folder), load_weights(folder, state)
    try:
        if max(config.hasher.layers, config.decoder.layers) > len(weights):
            raise ValueError(f"there are more layers than the {len(weights)} weights")
        if not 1 <= config.hasher.frames <= MOST_FRAMES:
            raise ValueError(f"frames is {config.hasher.frames}; allowed are 1 to {MOST_FRAMES}")
        with torch.device("meta"):  # takes no memory, whatever the sizes are
            config.build().load_state_dict(weights, assign=True)
        model = config.build()
        model.load_state_dict(weights)
    # Sizes of a wrong kind end in as many kinds of errors as there are layers that are given them.
    except Exception as error:
        raise _does_not_fit(folder, error) from error
    return model.eval()


def load_hasher(folder: Path, state: TrainingState = "end") -> VideoHasher:
    """The hasher of a model as `load_model` has it: the part that makes codes."""
    return load_model(folder, state).hasher


def load_history(folder: Path) -> History:
    """The epochs that led to a checkpoint, from the first one of the warm-up.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / HISTORY
    try:
        check_regular(path)
        history: History = json.loads(path.read_text())
        for row in history:
            row["phase"], row["epoch"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable history ({error})") from error
    return history


def restore_trainer(folder: Path, trainer: Trainer) -> History:
    """Bring `trainer` to the state in `folder`; returns the history.

    Raises:
        UserError: the checkpoint is damaged or of a model of another shape.
    """
    try:
        check_regular(folder / TRAINING)
        with open(folder / TRAINING, "rb") as file:
            if (
                file.read(len(ZIP)) != ZIP
            ):  # torch would try older forms, and unpack one of them in the temporary folder
                raise ValueError(f"{TRAINING} is not what torch.save writes")
        state: Mapping[str, Any] = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
        weights, first_weights = load_weights(folder), load_weights(folder, "start")
        trainer.restore(weights, first_weights, state, unpack_granularities(state["granularities"]))
        return load_history(folder)
    except UserError:
        raise
    except Exception as error:
        # torch.load and load_state_dict raise many kinds; to a user they all mean the same.
        raise _does_not_fit(folder, error) from error


def _does_not_fit(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder}: this checkpoint does not fit ({' '.join(str(error).split())[:200]})")


@dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoints of one phase in progress: the newest complete one counts, older ones are removed."""

    path: Path

    def _complete(self) -> Sequence[Path]:
        return sorted(self.path.glob("epoch-*"))

    def newest(self) -> Path | None:
        """The checkpoint to go on from, or None."""
        complete = self._complete()
        return complete[-1] if complete else None

    def save(self, trainer: Trainer, config: ModelConfig, history: History) -> Path:
        """Write a checkpoint of the present state, then remove the older ones."""
        older = self._complete()
        folder = self.path / f"epoch-{trainer.epoch:06d}"
        save_checkpoint(folder, trainer, config, history)
        for path in older:
            if path != folder:
                shutil.rmtree(path)
        for leftover in self.path.glob(".epoch-*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        return folder
