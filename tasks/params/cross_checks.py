"""What in params.yaml must fit together, over all sections, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.corpus.published.sets import PUBLISHED_SETS
from ssvh_model.errors import UserError
from ssvh_model.files import is_address
from ssvh_model.video.backbone_names import (
    ONNX,
    SAFETENSORS,
    TORCHSCRIPT,
    allowed_names,
    ending_of,
    is_of_a_package,
    is_own_model,
    packaged_names,
)
from tasks.machine.services import without_passwords
from tasks.paths import BACKBONES

if TYPE_CHECKING:
    from tasks.params.sections import Params


def check_together(params: Params, path: Path) -> None:
    """Check what no single value shows.

    Raises:
        UserError: about the first thing that does not fit.
    """
    for problem in (
        _backbone(params),
        _engine(params),
        _mask(params),
        _published_address(params),
        _shares(params),
        _groups(params),
        _rates(params),
        _weights(params),
        _rounds(params),
        _clusters(params),
        _splits_searched(params),
        _splits_published(params),
        _probes(params),
        _index_in_folder(params),
        _index_password(params),
        _training_bits(params),
        _encoder(params),
        _selection(params),
    ):
        if problem is not None:
            raise UserError(f"{path}: {problem}")


def _backbone(params: Params) -> str | None:
    name, own = params.features.backbone, params.features.own
    if not is_own_model(name):
        known = is_of_a_package(name)
        return None if known else f"features.backbone is {name!r}; allowed are {allowed_names()}"
    path, ending = Path(name), ending_of(name)
    if path.is_absolute() or ".." in path.parts or path.parts[0] != BACKBONES.name:
        return (
            f"features.backbone is {name}; allowed is a file in the folder {BACKBONES}, on which the stage features depends: "
            "put it there, or a link to it"
        )
    if not path.is_file():
        return f"features.backbone is {name}; there is no such file"
    if ending == ONNX and params.features.engine == "torch":
        return (
            f"features.engine is torch, which does not run {name}; allowed are openvino, onnxruntime and auto"
        )
    if ending == SAFETENSORS and not is_of_a_package(own.architecture or ""):
        return (
            f"features.own.architecture is {own.architecture or 'null'}, and {name} holds weights alone; "
            f"allowed is the network that they are for: {packaged_names()}"
        )
    if ending != SAFETENSORS and own.architecture is not None:
        return f"features.own.architecture is {own.architecture}; allowed is null, for {name} holds a whole network"
    if ending in TORCHSCRIPT and not params.running.trust_torchscript:
        return (
            f"features.backbone is {name}, TorchScript: a program that would run here with all that you may do; allowed is that "
            f"with running.trust_torchscript: true, or {ONNX}, which needs no trust"
        )
    return None


def _engine(params: Params) -> str | None:
    if params.features.engine != "onnxruntime" or params.features.precision != "bfloat16":
        return None
    return "features.precision is bfloat16, which features.engine onnxruntime does not have; allowed are float32 and auto"


def _mask(params: Params) -> str | None:
    return mask_problem(params.sampler.mask_ratio, params.features.frames, " (features.frames)")


def mask_problem(ratio: float, frames: int, where: str = "") -> str | None:
    """What is wrong with hiding that share of a video's frames; None where some are hidden and some not.

    Args:
        ratio: sampler.mask_ratio.
        frames: of a video.
        where: what is said behind their number, such as which parameter it is.
    """
    visible = round((1 - ratio) * frames)
    if 1 <= visible <= frames - 1:
        return None
    return (
        f"sampler.mask_ratio is {ratio}, which leaves {visible} of the {frames} frames{where} visible; "
        f"allowed is what leaves 1 to {frames - 1} visible"
    )


def _published_address(params: Params) -> str | None:
    if params.corpus.source != "published" or not is_address(params.corpus.path):
        return None
    return f"corpus.path is {params.corpus.path}; allowed for corpus.source published is a folder of this machine"


def _shares(params: Params) -> str | None:
    split = params.corpus.split
    total = split.validation + split.database + split.query
    if total < 1:
        return None
    return f"corpus.split: validation, database and query are {total:g} together; allowed is below 1, the rest is for training"


def _groups(params: Params) -> str | None:
    both = set(params.corpus.split.validation_groups) & set(params.corpus.split.query_groups)
    if not both:
        return None
    return f"corpus.split.query_groups has {sorted(both)[0]!r}, which is in validation_groups too; allowed is one of them"


def _training_bits(params: Params) -> str | None:
    bits, longer = params.model.bits, params.model.training_bits
    if longer is None or longer == "by_length" or longer >= bits:
        return None
    return (
        f"model.training_bits is {longer}; allowed is from model.bits on, which is {bits}, by_length or null"
    )


def _encoder(params: Params) -> str | None:
    model = params.model
    if model.encoder != "state_space":
        return None
    if model.width % 8:
        return f"model.width is {model.width}; allowed with model.encoder state_space are multiples of 8"
    if model.start == "itq":
        return "model.start is itq, which writes the weights of a transformer; allowed with model.encoder state_space is random"
    return None


def _selection(params: Params) -> str | None:
    if params.selection == "label_free" and params.model.start != "itq":
        return (
            f"selection is label_free, which compares with what a start from ITQ sees, but model.start is {params.model.start}; "
            "allowed are auto, labels and end"
        )
    split = params.corpus.split
    # A folder's labels table may name validation videos.
    none = not split.validation and not split.validation_groups and params.corpus.source != "folder"
    if params.selection == "labels" and none:
        return "selection is labels, but corpus.split leaves no validation videos; allowed are auto, label_free and end"
    return None


def _rates(params: Params) -> str | None:
    training = params.training
    if training.learning_rate_floor <= training.learning_rate:
        return None
    return (
        f"training.learning_rate_floor is {training.learning_rate_floor:g}; "
        f"allowed is up to training.learning_rate, which is {training.learning_rate:g}"
    )


def _weights(params: Params) -> str | None:
    losses = params.losses
    if not (losses.reconstruction or losses.alpha or losses.gamma):
        return "losses.reconstruction, losses.alpha and losses.gamma are all 0; allowed is one of them, the warm-up has no other loss"
    evened = losses.evened
    if evened and not (losses.reconstruction or evened.alpha * losses.alpha or evened.gamma * losses.gamma):
        return (
            "losses.evened leaves nothing of losses.alpha and losses.gamma, and losses.reconstruction is 0; "
            "allowed is one of them, the warm-up has no other loss"
        )
    return None


def _rounds(params: Params) -> str | None:
    for number, (key, round_) in enumerate(params.rounds.items(), start=1):
        if key != str(number):
            return f'rounds.{key} is round {number} in the list; allowed are the keys "1", "2", ... in their order, in quotes'
        before = "warmup" if number == 1 else f"round-{number - 1}"
        if round_.after != before:
            return f"rounds.{key}.after is {round_.after!r}; allowed is {before}, the state before round {number}"
        if len(set(round_.clusters)) != len(round_.clusters):
            return f"rounds.{key}.clusters is {list(round_.clusters)}; allowed is every count once"
        for count in round_.clusters:
            if count < 2:
                return f"rounds.{key}.clusters has {count}; allowed are whole numbers from 2"
    return None


def _clusters(params: Params) -> str | None:
    # For other sources the number of videos is known when they have been read; the stage `clusters` checks it
    # then.
    if params.corpus.source != "arcade":
        return None
    split = params.corpus.split
    videos = params.corpus.arcade.clips
    largest = round(videos * (1 - split.validation - split.database - split.query))
    for key, round_ in params.rounds.items():
        for count in round_.clusters:
            if count > largest:
                return (
                    f"rounds.{key}.clusters has {count}, more than the {largest} training videos "
                    f"that corpus.arcade.clips and corpus.split leave; allowed are 2 to {largest}"
                )
    return None


def _splits_searched(params: Params) -> str | None:
    for name, splits in (("database", params.evaluate.database), ("query", params.evaluate.query)):
        if len(set(splits)) != len(splits):
            return f"evaluate.{name} is {list(splits)}; allowed is every split once"
    return None


def _splits_published(params: Params) -> str | None:
    if params.corpus.source != "published":
        return None
    dataset = params.corpus.published.dataset
    splits = PUBLISHED_SETS[dataset].splits
    for name, chosen in (("database", params.evaluate.database), ("query", params.evaluate.query)):
        if not set(splits) & set(chosen):
            return (
                f"evaluate.{name} is {list(chosen)}, but the videos of {dataset} are in {' and '.join(splits)}; "
                f"`ssvh preset apply {dataset}` sets the protocol"
            )
    return None


def _probes(params: Params) -> str | None:
    index = params.index
    if index.probes <= index.cells:
        return None
    return f"index.probes is {index.probes}; allowed is up to index.cells, which is {index.cells}"


def _index_in_folder(params: Params) -> str | None:
    index = params.index
    if index.approximate == "cells" or index.backend == "postgres":
        return None
    return f"index.approximate is {index.approximate!r}, which needs index.backend 'postgres'; with 'folder', allowed is 'cells'"


def _index_password(params: Params) -> str | None:
    if without_passwords(params.index.url) == params.index.url:
        return None
    return (
        "index.url holds a password, which this file is not for; allowed is an address without it, with the password in "
        "~/.pgpass or PGPASSWORD, or a whole address in SSVH_INDEX_URL"
    )
