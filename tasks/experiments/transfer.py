"""A hasher that was trained on one corpus, measured on another."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssvh_model.corpus.other_features import as_feature_file
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.bootstrap import PairedDifference, paired_difference
from ssvh_model.retrieval.evaluation import Retrieval
from ssvh_model.retrieval.report import evaluate_hasher
from ssvh_model.training.encoded import mean_features
from tasks import paths
from tasks.params.sections import Params
from tasks.training.selected import selected_hasher
from tasks.training.settings import video_set

TRANSFERRED = "transferred"
TRAINED_THERE = "trained there"


@dataclass(frozen=True)
class Transfer:
    """What is found.

    Attributes:
        corpus: name of the feature file.
        bits: K by retriever; None for `float`.
        retrieval: by retriever: "transferred", "trained there" where given, "float", "itq" where measurable.
        differences: of the transferred hasher to each other retriever.
        remarks: what a reader should know, a sentence each.
    """

    corpus: str
    bits: Mapping[str, int | None]
    retrieval: Mapping[str, Retrieval]
    differences: Mapping[str, PairedDifference]
    remarks: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "corpus": self.corpus,
            "n_query": self.retrieval[TRANSFERRED].n_query,
            "n_database": self.retrieval[TRANSFERRED].n_database,
            "retrievers": {
                name: {
                    "bits": self.bits[name],
                    "gmap": one.gmap,
                    "map_at_k": {str(k): value for k, value in one.map_at_k.items()},
                }
                for name, one in self.retrieval.items()
            },
            "transferred_to": {name: one.record() for name, one in self.differences.items()},
            "remarks": list(self.remarks),
        }


def transfer(
    params: Params, state: Path, target: Path, trained_there: Path | None, progress: Progress = no_progress
) -> Transfer:
    """Measure the hasher of a training state on the queries of another corpus.

    Args:
        params: selection, evaluation, bootstrap, seed and device are taken from it.
        state: folder of the state, such as states/round-2.
        target: feature file of the other corpus; its training videos are for ITQ alone.
        trained_there: state of a hasher that was trained on that corpus.
        progress: told the queries that are done.

    Raises:
        UserError: a file can't be used, a hasher does not fit the features, or nothing can be measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = as_feature_file(target, Path(folder))
        hashers = {TRANSFERRED: _load(params, state, target, file)}
        if trained_there is not None:
            hashers[TRAINED_THERE] = _load(params, trained_there, target, file)
        retrieval: dict[str, Retrieval] = {}
        bits: dict[str, int | None] = {name: hasher.config.bits for name, hasher in hashers.items()}
        remarks = _remarks(file, hashers)
        train_features = mean_features(file, file.rows("train"))
        for name, hasher in hashers.items():
            evaluation = evaluate_hasher(
                video_set(params, hasher, file, file.rows(*params.evaluate.query)),
                video_set(params, hasher, file, file.rows(*params.evaluate.database)),
                train_features=train_features,
                exclude_self=params.evaluate.exclude_self,
                itq_seed=params.seed,
                fine=False,
                progress=progress,
            ).coarse
            if evaluation.hasher is None:
                raise UserError(f"{target}: {evaluation.reasons['gmap']}")
            retrieval[name] = evaluation.hasher
            if name == TRANSFERRED:
                yardsticks = {"float": evaluation.float_, "itq": evaluation.itq}
                remarks += [text for key, text in evaluation.reasons.items() if key != "gmap"]
    retrieval |= {name: one for name, one in yardsticks.items() if one is not None}
    bits |= {"float": None, "itq": bits[TRANSFERRED]}
    differences = {
        name: paired_difference(
            retrieval[TRANSFERRED].average_precision,
            one.average_precision,
            resamples=params.ablation.resamples,
            confidence=params.ablation.confidence,
            seed=params.seed,
        )
        for name, one in retrieval.items()
        if name != TRANSFERRED
    }
    return Transfer(target.name, bits, retrieval, differences, tuple(remarks))


def _load(params: Params, state: Path, target: Path, file: FeatureFile) -> VideoHasher:
    """The hasher of a state, once it is clear that it can read the file."""
    if not state.is_dir():
        raise UserError(f"{state}: no such folder; needed is a training state, such as states/warmup")
    hasher = selected_hasher(params, state)
    _, frames, size = file.shape
    config = hasher.config
    if config.feature_size != size:
        raise UserError(
            f"{target}: frame features have {size} numbers; the hasher in {state} reads {config.feature_size}: both must come from the same backbone"
        )
    if config.frames != frames:
        raise UserError(
            f"{target}: videos have {frames} frames; the hasher in {state} was made for {config.frames}, to which its positions are fixed: extract the features with features.frames {config.frames}"
        )
    return hasher


def _remarks(file: FeatureFile, hashers: Mapping[str, VideoHasher]) -> list[str]:
    remarks = []
    if len({hasher.config.bits for hasher in hashers.values()}) > 1:
        lengths = ", ".join(f"{name} {hasher.config.bits}" for name, hasher in hashers.items())
        remarks.append(f"The hashers have codes of different lengths ({lengths} bits).")
    if paths.FEATURE_FILE.is_file():
        home = FeatureFile(paths.FEATURE_FILE).meta
        there = file.meta
        if there.backbone and (home.backbone, home.weights_sha256) != (there.backbone, there.weights_sha256):
            remarks.append(
                f"{paths.FEATURE_FILE} was made with {home.backbone}, {file.path.name} with {there.backbone} or other weights: "
                "features of different networks do not mean the same."
            )
        elif there.backbone and home != there:
            remarks.append(
                f"{paths.FEATURE_FILE} was made with {home}, {file.path.name} with {there}: their values differ a little."
            )
    return remarks
