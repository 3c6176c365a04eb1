"""The corpus of an experiment, and how a hasher is measured on it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import h5py
import numpy as np

from ssvh_model.corpus.other_features import as_feature_file, hold_out_validation
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.files import sha256_of
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.evaluation import why_not_measurable
from ssvh_model.retrieval.report import Evaluation, evaluate_hasher
from ssvh_model.training.encoded import mean_features
from tasks import paths
from tasks.experiments.one_training import WORK, FeatureCorpus, Measure
from tasks.params.changes import with_changes
from tasks.params.sections import Params
from tasks.pipeline.work import use_work
from tasks.training.settings import video_set


def find_corpus(
    path: Path, params: Params, measure: Measure, *, need_labels: bool = True
) -> tuple[FeatureCorpus, Params]:
    """The videos to experiment with, and the parameters that fit them.

    Where validation videos are asked for and the file has none, some of its training videos are held out.

    Args:
        path: of the features.
        params: to begin with.
        measure: the split whose videos are the queries.
        need_labels: refuse videos that can't be measured by labels.

    Raises:
        UserError: the file can't be used, or its videos can't be measured.
    """
    digest = feature_digest(path) if path.is_file() else ""
    use_work()
    file = as_feature_file(path, WORK / f"features-{digest[:16]}")
    held_out = measure == "validation" and _hold_out(file, params, params.seed)
    if path != paths.FEATURE_FILE:
        # What params.yaml says of the pipeline's own videos does not hold for others.
        params = with_changes(
            params,
            {"features.frames": file.shape[1], "corpus.source": "folder"},
            where=f"{path} with {paths.PARAMS}",
        )
    if need_labels and (reason := why_no_gmap(file, params, measure)) is not None:
        raise UserError(f"{path}: {reason}")
    seed = params.seed if held_out else None
    validation = ",".join(map(str, file.rows("validation"))) if held_out else ""
    return FeatureCorpus(path.name, file.path, digest + validation, seed), params


def why_no_gmap(file: FeatureFile, params: Params, measure: Measure) -> str | None:
    """Why hashers can't be measured by labels on a split, in one sentence; None if they can."""
    return why_not_measurable(*([file.labels[row] for row in rows] for rows in _sides(file, params, measure)))


def feature_digest(path: Path) -> str:
    """Of the file's content, and of what it refers to: features of published data sets stay in their own
    files.
    """
    digest = sha256_of(path)
    with contextlib.suppress(OSError), h5py.File(path) as file:
        features = file.get("features")
        if isinstance(features, h5py.Dataset) and features.is_virtual:
            for source in sorted({path.parent / source.file_name for source in features.virtual_sources()}):
                if path.parent in source.parents:
                    # Ours: DVC checks them out with new times.
                    digest += f" {source.name} {sha256_of(source)}"
                    continue
                status = source.stat()
                digest += f" {source.name} {status.st_size} {status.st_mtime_ns}"
    return digest


def open_corpus(corpus: FeatureCorpus, params: Params) -> FeatureFile:
    """The file of a corpus, with the validation videos that `find_corpus` chose."""
    use_work()
    file = FeatureFile(corpus.path)
    if corpus.held_out is not None:
        _hold_out(file, params, corpus.held_out)
    return file


def _hold_out(file: FeatureFile, params: Params, seed: int) -> bool:
    split = params.corpus.split
    return hold_out_validation(file, share=split.validation, groups=split.validation_groups, seed=seed)


def measure_hasher(
    params: Params, hasher: VideoHasher, file: FeatureFile, measure: Measure, *, fine: bool = False
) -> Evaluation:
    """A hasher and the yardsticks on a split, with `fine` by the finer labels, too, where there are any.

    "validation": validation videos search the training videos. "query": as `evaluate.query` and
    `evaluate.database` say.

    Raises:
        UserError: it can't be measured.
    """
    query_rows, database_rows = _sides(file, params, measure)
    evaluation = evaluate_hasher(
        video_set(params, hasher, file, query_rows),
        video_set(params, hasher, file, database_rows),
        train_features=mean_features(file, file.rows("train")),
        exclude_self=params.evaluate.exclude_self,
        itq_seed=params.seed,
        fine=fine,
    )
    if evaluation.coarse.hasher is None:
        raise UserError(f"{file.path}: {evaluation.coarse.reasons['gmap']}")
    return evaluation


def _sides(file: FeatureFile, params: Params, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the queries and of the database."""
    if measure == "validation":
        return file.rows("validation"), file.rows("train")
    return file.rows(*params.evaluate.query), file.rows(*params.evaluate.database)
