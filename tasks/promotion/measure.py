"""Challenger and champion, measured now: on the same videos, with the same yardsticks, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta
from ssvh_model.files import sha256_of
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.model.hasher_file import hasher_files
from ssvh_model.progress import Progress
from ssvh_model.retrieval.report import evaluate_hasher
from ssvh_model.training.encoded import mean_features
from tasks import paths
from tasks.machine.device import pick_device
from tasks.params.sections import Params
from tasks.pipeline.definition import Lock
from tasks.promotion.gate import Measured, Unlabelled
from tasks.promotion.unlabelled import UnlabelledVideos
from tasks.records.tags import HASH_TAG, RAISED_TAG
from tasks.registry.find_hasher import HasherSource, find_hasher
from tasks.training.settings import video_set

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

SECONDS_TO_MEASURE_SPEED = 0.3
MOST_VIDEOS_AT_ONCE = 64


class CannotCompare(UserError):
    """A hasher that was made for other features than these."""


class Measurement:
    """The videos that hashers are measured on: those of the present feature file, as params.yaml divides
    them.

    Attributes:
        corpus: digest of the features, the same for the same version of the corpus.
        query, database: names of the splits, joined by "+".

    Raises:
        UserError: there is no feature file, or it can't be used.
    """

    def __init__(self, params: Params, progress: Callable[[str], Progress]) -> None:
        self._params, self._progress = params, progress
        self._file = FeatureFile(paths.FEATURE_FILE)
        self._unlabelled = UnlabelledVideos(params, self._file)
        self._device = pick_device(params.running.device)
        self.corpus = Lock.read().outputs().get(paths.FEATURES) or sha256_of(paths.FEATURE_FILE)
        self.query = "+".join(params.evaluate.query)
        self.database = "+".join(params.evaluate.database)

    def measure(self, source: HasherSource, tags: dict[str, str]) -> Measured:
        """Measure one version.

        Args:
            source: its files.
            tags: of the version.

        Raises:
            UserError: its files are damaged.
            CannotCompare: it was made for other features.
        """
        params, file = self._params, self._file
        hasher, features = source.load()
        self._check_features(source, hasher, features)
        hasher = hasher.to(self._device)
        sides = [
            video_set(
                params,
                hasher,
                file,
                file.rows(*splits),
                self._progress(f"{name} videos encoded by {source.name}"),
            )
            for name, splits in (("query", params.evaluate.query), ("database", params.evaluate.database))
        ]
        evaluation = evaluate_hasher(
            *sides,
            train_features=mean_features(file, file.rows("train")),
            exclude_self=params.evaluate.exclude_self,
            itq_seed=params.seed,
            fine=False,
        )
        found = evaluation.coarse
        unlabelled = None
        if found.hasher is None and not self._unlabelled.too_few:
            codes = self._unlabelled.codes(hasher)
            unlabelled = Unlabelled(self._unlabelled.score(codes), evaluation.bits, codes, self._unlabelled)
        return Measured(
            version=source.version,
            gmap=found.hasher.gmap if found.hasher else None,
            itq=found.itq.gmap if found.itq else None,
            float_=found.float_.gmap if found.float_ else None,
            reasons=found.reasons,
            average_precision=found.hasher.average_precision if found.hasher else None,
            itq_average_precision=found.itq.average_precision if found.itq else None,
            bits=evaluation.bits,
            videos_per_second=self._speed(hasher),
            megabytes=sum(file.stat().st_size for file in hasher_files(source.folder)) / 1e6,
            checks_raised=tags.get(RAISED_TAG),
            unlabelled=unlabelled,
        )

    def _check_features(self, source: HasherSource, hasher: VideoHasher, features: FeatureMeta) -> None:
        _, frames, size = self._file.shape
        made_for = (hasher.config.frames, hasher.config.feature_size, features)
        if made_for != (frames, size, self._file.meta):
            raise CannotCompare(
                f"{source.name} was made for {_in_words(*made_for)}; "
                f"{self._file.path} has {_in_words(frames, size, self._file.meta)}"
            )

    def _speed(self, hasher: VideoHasher) -> float:
        """Videos a second from stored features to codes: the best of some batches, because others use this
        machine too.
        """
        rows = self._file.rows(*self._params.evaluate.database)[:MOST_VIDEOS_AT_ONCE]
        features, device = self._file.read(rows), self._device
        hasher.codes(features.to(device).float())  # the first time, memory has to be found
        best, until = float("inf"), time.monotonic() + SECONDS_TO_MEASURE_SPEED
        while best == float("inf") or time.monotonic() < until:
            began = time.perf_counter()
            hasher.codes(features.to(device).float()).cpu()
            best = min(best, time.perf_counter() - began)
        return len(rows) / best


def _in_words(frames: int, size: int, features: FeatureMeta) -> str:
    return f"{frames} frames of {size} numbers ({features})"


def verified(version: ModelVersion, model: str) -> HasherSource:
    """The files of a version, which must be what was registered.

    Args:
        version: as MLflow's client returns it.
        model: registered name.

    Raises:
        UserError: the files are gone, do not match their hash, or were registered without one.
    """
    source = find_hasher(f"models:/{model}/{version.version}", model=model)
    if not version.tags.get(HASH_TAG):
        raise UserError(
            f"{source.name} has no tag {HASH_TAG}, so nothing tells whether its files are the registered ones; "
            "`dvc repro --force --single-item register` registers the present hasher with it"
        )
    return source
