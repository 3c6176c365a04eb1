"""Hashers measured on videos without labels, by the score that training logs
(`ssvh_model.training.label_free`).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from ssvh_model.features import FeatureFile
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.retrieval.itq import train_itq
from ssvh_model.training.agreement import LEAST_VIDEOS, halves_of, some_rows
from ssvh_model.training.encoded import mean_features
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.label_free import Views, label_free_score, score_differences, seen_by
from tasks.params.changes import with_changes
from tasks.params.sections import Params
from tasks.training.settings import training_session


class UnlabelledVideos:
    """Some of the query and database videos of a feature file, at most 2,000.

    Attributes:
        too_few: there are not enough videos to judge by.
    """

    def __init__(self, params: Params, file: FeatureFile) -> None:
        rows = np.union1d(file.rows(*params.evaluate.query), file.rows(*params.evaluate.database))
        self.too_few = len(rows) < LEAST_VIDEOS
        self._params, self._file = params, file
        self._rows = rows[some_rows(len(rows))]
        self._videos = FrameSource.from_file(file, self._rows, memory_limit=0)

    def codes(self, hasher: VideoHasher) -> Views:
        """A hasher's codes."""
        batch = self._params.training.batch_size
        return seen_by(hasher, self._videos, batch_size=batch, device=hasher.feature_mean.device).codes()

    def score_of_itq(self, bits: int) -> float:
        """Of the codes of ITQ, which is trained on the training videos' mean features."""
        train = mean_features(self._file, self._file.rows("train"))
        itq = train_itq(train, bits=bits, seed=self._params.seed)
        parts = (slice(None), *halves_of(self._file.shape[1]))
        return self.score(Views(*(itq.encode(mean_features(self._file, self._rows, part)) for part in parts)))

    def score(self, codes: Views) -> float:
        """Of some codes."""
        return label_free_score(codes, self._reference, seed=self._params.seed)

    def differences(self, codes: Views, other: Views) -> np.ndarray:
        """How far some codes' score is above that of others, on random halves of the videos."""
        return score_differences(codes, other, self._reference, seed=self._params.seed)

    @cached_property
    def _reference(self) -> Views:
        """The start of a training on these features, whatever hashers are to be measured."""
        # At a start from ITQ any transformer passes frames on as they are.
        changes = {"model.start": "itq", "model.encoder": "transformer"}
        params = with_changes(self._params, changes, where="params.yaml")
        session = training_session(params, self._file)
        trainer = session.trainer()
        session.initialize(trainer)
        return seen_by(
            trainer.model.hasher,
            self._videos,
            batch_size=params.training.batch_size,
            device=session.device,
            compressed=False,
        )
