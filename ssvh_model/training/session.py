"""A training on one feature file: its trainer, its clusters, its measurements and its phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity, make_anchors, possible_counts
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.manifest import LEAST_TRAINING_VIDEOS
from ssvh_model.model.autossvh import build_model
from ssvh_model.model.hasher import VideoHasher
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.retrieval.evaluation import evaluate_codes, why_not_measurable
from ssvh_model.training.agreement import (
    LEAST_VIDEOS,
    cluster_agreement,
    some_videos,
)
from ssvh_model.training.centering import learn_center
from ssvh_model.training.checkpoint import CheckpointFolder
from ssvh_model.training.compressing import learn_compression
from ssvh_model.training.diagnostics import sampler_state
from ssvh_model.training.encoding import encode
from ssvh_model.training.figures import (
    CLUSTER_AGREEMENT,
    LABEL_FREE_SCORE,
    START_LABEL_FREE_SCORE,
    START_VALIDATION_GMAP,
    VALIDATION_GMAP,
    VALIDATION_GMAP_FINE,
    cluster_figures,
    code_figures,
    gap_figures,
    start_figures,
)
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.initialization import choose_start, evens_out, start_from_itq
from ssvh_model.training.label_free import Views, label_free_score, seen_by
from ssvh_model.training.phase import Phase, train_phase
from ssvh_model.training.ranks import ALONE, Ranks
from ssvh_model.training.settings import TrainingSettings
from ssvh_model.training.trainer import Trainer

# Videos, and masks of each, that the state of the sampler is measured on, and the gap between training and
# validation videos.
PROBE_VIDEOS = 64
PROBE_DRAWS = 8
GAP_DRAWS = 2


class TrainingSession:
    """A training on one feature file.

    Attributes:
        settings: of the training.
        file: of the features.
        device: to train on.
        ranks: the processes that train together.
        videos: the training videos.

    Args:
        memory_limit: bytes up to which the videos of a split are held in memory; larger ones are read as they
            are needed.
        ranks: in each of which is a session with the same arguments.

    Raises:
        UserError: fewer than two training videos.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        file: FeatureFile,
        *,
        device: torch.device,
        memory_limit: float,
        ranks: Ranks = ALONE,
    ) -> None:
        self.settings = settings
        self.file = file
        self.ranks = ranks
        self.device = device
        self.videos = FrameSource.from_file(file, file.rows("train"), memory_limit=memory_limit)
        if len(self.videos) < LEAST_TRAINING_VIDEOS:
            raise UserError(
                f"{file.path}: {len(self.videos)} training videos; at least {LEAST_TRAINING_VIDEOS} are needed"
            )
        self._validation = FrameSource.from_file(file, file.rows("validation"), memory_limit=memory_limit)
        self._labels = {
            VALIDATION_GMAP: file.labels,
            VALIDATION_GMAP_FINE: file.fine_labels,
        }
        self._rows = {split: file.rows(split) for split in ("train", "validation")}

    def trainer(self) -> Trainer:
        """A trainer with the initial weights of the seed."""
        settings = self.settings
        model = settings.model
        return Trainer(
            build_model(model.hasher, model.decoder, model.sampler, seed=settings.seed),
            self.videos,
            objective=settings.objective,
            evened_objective=settings.evened_objective,
            optimization=settings.optimization,
            seed=settings.seed,
            device=self.device,
            ranks=self.ranks,
        )

    def initialize(self, trainer: Trainer) -> dict[str, float]:
        """Make the initial weights, and what the training is held against: the codes that the similarity loss
        keeps near, and what the score without labels looks at. Figures of the start, by which `select_state`
        holds the end of the training against it.
        """
        figures, evened = self.ranks.from_first(lambda: self._first_weights(trainer))
        if evened:
            trainer.take_start_as_evened()
        self.ranks.share_weights(trainer.model)
        hasher = trainer.model.hasher
        if trainer.objective.gamma:
            codes = self.encode(hasher, self.videos, compressed=False)
            trainer.first_codes = codes.half().to(self.device)
        if self.settings.initialization.start == "itq" and len(self.videos) >= LEAST_VIDEOS:
            seen = seen_by(hasher, some_videos(self.videos), **self._encoding, compressed=False)
            trainer.reference = torch.from_numpy(np.stack([seen.whole, seen.first, seen.second])).half()
        compressed = self._compressed(hasher)
        figures |= self._judged(trainer, score=START_LABEL_FREE_SCORE)
        if VALIDATION_GMAP in (found := self._validation_gmaps(hasher, sign_codes(compressed.numpy()))):
            figures[START_VALIDATION_GMAP] = found[VALIDATION_GMAP]
        return figures

    def why_not_selectable(self, selection: str) -> str | None:
        """The reason why `select_state` will not have what it compares, in one sentence; None if it will."""
        if selection == "labels":
            for name, split in (("validation", "validation"), ("training", "train")):
                if not any(self.file.labels[row] for row in self._rows[split]):
                    return f"no {name} video has a label"
        if selection == "label_free":
            if self.settings.initialization.start != "itq":
                return "the training begins with random weights, which see nothing that codes could be held against"
            if len(self.videos) < LEAST_VIDEOS:
                return f"there are {len(self.videos)} training videos, fewer than {LEAST_VIDEOS}"
        return None

    def _first_weights(self, trainer: Trainer) -> tuple[dict[str, float], bool]:
        """Figures of the start, and whether it `evens_out` what changes within videos."""
        first, hasher = self.settings.initialization, trainer.model.hasher
        batch_size = self.settings.optimization.batch_size
        if first.center_features:
            learn_center(hasher, self.videos, batch_size=batch_size)
        if first.start == "random":
            return {}, False
        figures: dict[str, float] = {}
        seed, candidates = self.settings.seed, first.candidates()
        whitening, within_video = candidates[0]
        if len(candidates) > 1:
            choice = choose_start(hasher, self.videos, candidates, seed=seed, batch_size=batch_size)
            whitening, within_video = choice.whitening, choice.within_video
            figures = start_figures(choice)
        start_from_itq(
            hasher,
            self.videos,
            whitening=whitening,
            within_video=within_video,
            seed=seed,
            batch_size=batch_size,
        )
        return figures, evens_out(within_video)

    def encode(
        self,
        hasher: VideoHasher,
        source: FrameSource,
        progress: Progress = no_progress,
        *,
        compressed: bool = True,
    ) -> Tensor:
        """Soft codes of some videos, on the CPU; not `compressed`, as long as they are trained."""
        return encode(
            hasher,
            source,
            batch_size=self.settings.optimization.batch_size,
            device=self.device,
            compressed=compressed,
            progress=progress,
            ranks=self.ranks,
        )

    def cluster(
        self,
        hasher: VideoHasher,
        counts: Sequence[int],
        progress: Progress = no_progress,
        *,
        last: Sequence[Granularity] = (),
    ) -> list[Granularity]:
        """Anchors of the training set with the present weights: of `counts`, or what `possible_counts` makes
        of them; `last` as in `make_anchors`.
        """
        soft_codes = self.encode(hasher, self.videos, progress, compressed=False)
        return self.ranks.from_first(
            lambda: make_anchors(
                soft_codes,
                possible_counts(counts, len(self.videos)),
                **vars(self.settings.clustering),
                seed=self.settings.seed,
                last=last,
            )
        )

    def measure(self, trainer: Trainer) -> dict[str, float]:
        """What tells whether training goes well: the state of the sampler, the codes and the clusters, the
        gap between training and validation videos and, where they have labels, how well validation videos
        find training videos.

        The compression of codes that are trained longer is learnt here, from the same codes of the training
        videos.
        """
        model, seed, objective = trainer.model, self.settings.seed, self.settings.objective
        figures = sampler_state(model, self._probe(self.videos, PROBE_VIDEOS), draws=PROBE_DRAWS, seed=seed)
        codes = sign_codes(self._compressed(model.hasher).numpy())
        figures |= code_figures(codes)
        figures |= self._judged(trainer, agreement=CLUSTER_AGREEMENT, score=LABEL_FREE_SCORE)
        figures |= cluster_figures(trainer.granularities)
        alike = min(PROBE_VIDEOS, len(self.videos), len(self._validation))
        if alike >= 2:
            figures |= gap_figures(
                model,
                self._probe(self.videos, alike),
                self._probe(self._validation, alike),
                temperature=objective.temperature,
                tau_plus=objective.tau_plus,
                draws=GAP_DRAWS,
                seed=seed,
            )
        figures |= self._validation_gmaps(model.hasher, codes)
        return figures

    def _judged(self, trainer: Trainer, *, score: str, agreement: str = "") -> dict[str, float]:
        """How good the codes of some training videos are without labels, by the names that are given; nothing
        for too few videos.
        """
        if len(self.videos) < LEAST_VIDEOS:
            return {}
        seed = self.settings.seed
        codes = seen_by(trainer.model.hasher, some_videos(self.videos), **self._encoding).codes()
        figures = {}
        if agreement:
            figures[agreement] = cluster_agreement(codes.first, codes.second, seed=seed)
        if trainer.reference is not None:
            reference = Views(*trainer.reference.float().numpy())
            figures[score] = label_free_score(codes, reference, seed=seed)
        return figures

    @property
    def _encoding(self) -> dict[str, Any]:
        return {"batch_size": self.settings.optimization.batch_size, "device": self.device}

    def _compressed(self, hasher: VideoHasher) -> Tensor:
        """Soft codes of the training videos, by the compression that is learnt of them where they are trained
        longer.
        """
        codes = self.encode(hasher, self.videos, compressed=False)
        if hasher.compression is None:
            return codes
        if self.ranks.first:
            learn_compression(hasher, codes, seed=self.settings.seed)
        self.ranks.share_weights(hasher.compression)
        compressed: Tensor = hasher.compression(codes.to(self.device))
        return compressed.cpu()

    def _probe(self, source: FrameSource, most: int) -> Tensor:
        """Features of some videos, evenly over all of them: neighbours in the file may be of one kind."""
        rows = np.linspace(0, len(source) - 1, min(most, len(source))).astype(np.int64)
        return source.fetch(rows).to(self.device).float()

    def _validation_gmaps(self, hasher: VideoHasher, database_codes: np.ndarray) -> dict[str, float]:
        if not len(self._validation):
            return {}
        query_codes = sign_codes(self.encode(hasher, self._validation).numpy())
        figures = {}
        for name, labels in self._labels.items():
            query_labels = [labels[row] for row in self._rows["validation"]]
            database_labels = [labels[row] for row in self._rows["train"]]
            if why_not_measurable(query_labels, database_labels) is None:
                figures[name] = evaluate_codes(
                    query_codes,
                    database_codes,
                    query_labels,
                    database_labels,
                    self._validation.ids,
                    self.videos.ids,
                    exclude_self=False,  # no video is in both splits
                ).gmap
        return figures

    def run_phase(
        self,
        phase: Phase,
        *,
        checkpoints: Path,
        on_epoch: Callable[[dict[str, Any], float], None],
        progress: Progress,
        start: Path | None = None,
        anchors: Sequence[Granularity] = (),
        counts: Sequence[int] = (),
    ) -> Path:
        """Train one phase, or go on with it.

        Args:
            phase: name, length and rhythm.
            checkpoints: folder of its checkpoints; found again after a kill.
            on_epoch, progress, start, anchors: as in `train_phase`.
            counts: clusters that each refreshing makes.

        Returns:
            The folder of its last checkpoint.
        """
        return train_phase(
            self.trainer(),
            self.settings.model,
            phase,
            start=start,
            initialize=self.initialize,
            anchors=anchors,
            # They are in every checkpoint, so that a phase that goes on from one clusters as it would have.
            refresh=lambda trainer: self.cluster(trainer.model.hasher, counts, last=trainer.granularities),
            measure=self.measure,
            on_epoch=on_epoch,
            checkpoints=CheckpointFolder(checkpoints),
            progress=progress,
        )
