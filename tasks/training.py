"""What the training stages share: the library's objects, made from params.yaml."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from torch import Tensor

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import DecoderConfig, build_model
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.sampler import SamplerConfig
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.retrieval.evaluation import evaluate_codes, why_not_measurable
from ssvh_model.training.centering import learn_center
from ssvh_model.training.checkpoint import CheckpointFolder, ModelConfig
from ssvh_model.training.compressing import learn_compression, training_bits_by_length
from ssvh_model.training.diagnostics import sampler_state
from ssvh_model.training.encoding import encode
from ssvh_model.training.figures import cluster_figures, code_figures, gap_figures
from ssvh_model.training.frame_source import FrameSource
from ssvh_model.training.initialization import start_from_itq
from ssvh_model.training.phase import Phase, train_phase
from ssvh_model.training.ranks import ALONE, Ranks
from ssvh_model.training.trainer import Optimization, Trainer
from tasks.device import pick_device
from tasks.failure_checks import CheckedStage
from tasks.params import Params
from tasks.stage import Stage
from tasks.train_together import train_together

# Names of the figures that are measured while training, beside those of `LossBreakdown`, `sampler_state` and training/figures.py.
VALIDATION_GMAP = "validation_gmap"
VALIDATION_GMAP_FINE = "validation_gmap_fine"

# Videos, and masks of each, that the state of the sampler is measured on, and the gap between training and validation videos.
PROBE_VIDEOS = 64
PROBE_DRAWS = 8
GAP_DRAWS = 2


def frame_source(file: FeatureFile, *splits: str) -> FrameSource:
    """The videos of some splits, held in memory if they take less than half of what is free."""
    return FrameSource.from_file(file, file.rows(*splits), memory_limit=psutil.virtual_memory().available / 2)


def hasher_config(params: Params, *, frames: int, feature_size: int) -> HasherConfig:
    """What the hasher is built from, for videos of M `frames` with D = `feature_size` numbers each."""
    model = params.model
    return HasherConfig(
        feature_size=feature_size,
        frames=frames,
        bits=model.bits,
        width=model.width,
        layers=model.layers,
        heads=model.heads,
        mlp_ratio=model.mlp_ratio,
        position_scale=model.position_scale,
        pooling=model.pooling,
        training_bits=training_bits_by_length(model.bits)
        if model.training_bits == "by_length"
        else model.training_bits,
    )


def model_config(params: Params, file: FeatureFile) -> ModelConfig:
    """What the model is built from, for the features at hand."""
    _, frames, size = file.shape
    model, sampler = params.model, params.sampler
    return ModelConfig(
        hasher_config(params, frames=frames, feature_size=size),
        DecoderConfig(width=model.decoder_width, layers=model.decoder_layers, heads=model.decoder_heads),
        SamplerConfig(
            kind=sampler.kind,
            mask_ratio=sampler.mask_ratio,
            gumbel=sampler.gumbel,
            noise=sampler.noise,
            temperature=sampler.temperature,
        ),
    )


def epoch_log(stage: Stage, checks: CheckedStage) -> Callable[[dict[str, Any], float], None]:
    """Logs an epoch's figures to the stage's MLflow run, a line of them where validation was measured, and what the checks find."""

    def log(row: dict[str, Any], seconds: float) -> None:
        figures = {name: value for name, value in row.items() if name not in ("epoch", "phase")}
        if seconds:
            figures["epoch_seconds"] = seconds
        stage.run.log_metrics(figures, step=row["epoch"])
        if VALIDATION_GMAP in row:
            stage.say(
                f"epoch {row['epoch']}: loss {row['loss']:.4f}, validation GMAP {row[VALIDATION_GMAP]:.4f}"
            )
        checks.add(row)

    return log


class TrainingSession:
    """Training on one feature file: makes trainers, clusters and measurements as params.yaml says.

    Args:
        params: of the training.
        file: of the features.
        ranks: the processes that train together, in each of which is a session with the same arguments.

    Raises:
        UserError: fewer than two training videos.
    """

    def __init__(self, params: Params, file: FeatureFile, ranks: Ranks = ALONE) -> None:
        self.params = params
        self._file = file
        self._ranks = ranks
        self.device = pick_device(params.running.device)
        self.config = model_config(params, file)
        self.train = frame_source(file, "train")
        if len(self.train) < 2:
            raise UserError(f"{file.path}: {len(self.train)} training videos; at least 2 are needed")
        if self.config.hasher.training_bits is not None and len(self.train) <= params.model.bits:
            raise UserError(
                f"{file.path}: {len(self.train)} training videos; model.training_bits needs more than model.bits, {params.model.bits}"
            )
        self._validation = frame_source(file, "validation")
        self._labels = {
            VALIDATION_GMAP: file.labels,
            VALIDATION_GMAP_FINE: file.fine_labels,
        }
        self._rows = {split: file.rows(split) for split in ("train", "validation")}

    def trainer(self) -> Trainer:
        """A trainer with the initial weights of the seed."""
        params = self.params
        config = self.config
        return Trainer(
            build_model(config.hasher, config.decoder, config.sampler, seed=params.seed),
            self.train,
            objective=Objective(
                reconstruction=params.losses.reconstruction,
                alpha=params.losses.alpha,
                beta=params.losses.beta,
                temperature=params.losses.temperature,
                tau_plus=params.losses.tau_plus,
                negatives=params.losses.negatives,
            ),
            optimization=Optimization(
                batch_size=params.training.batch_size,
                learning_rate=params.training.learning_rate,
                learning_rate_floor=params.training.learning_rate_floor,
                step_epochs=params.training.step_epochs,
                step_factor=params.training.step_factor,
                feature_dropout=params.model.feature_dropout,
                code_noise=params.model.code_noise,
                reversal=params.sampler.reversal,
                reversal_ramp=params.sampler.reversal_ramp,
            ),
            seed=params.seed,
            device=self.device,
            ranks=self._ranks,
        )

    def _initialize(self, trainer: Trainer) -> None:
        if self._ranks.first:
            self._first_weights(trainer)
        self._ranks.share_weights(trainer.model)

    def _first_weights(self, trainer: Trainer) -> None:
        model, hasher = self.params.model, trainer.model.hasher
        batch_size = self.params.training.batch_size
        if model.center_features:
            learn_center(hasher, self.train, batch_size=batch_size)
        if model.start == "itq":
            start_from_itq(
                hasher,
                self.train,
                whitening=model.whitening,
                within_video=model.within_video,
                seed=self.params.seed,
                batch_size=batch_size,
            )

    def encode(
        self,
        hasher: VideoHasher,
        source: FrameSource,
        progress: Progress = no_progress,
        *,
        compressed: bool = True,
    ) -> Tensor:
        """Soft codes of some videos, on the CPU; not `compressed`, as long as they are trained."""
        batch_size = self.params.training.batch_size
        return encode(
            hasher,
            source,
            batch_size=batch_size,
            device=self.device,
            compressed=compressed,
            progress=progress,
            ranks=self._ranks,
        )

    def cluster(
        self, hasher: VideoHasher, counts: Sequence[int], progress: Progress = no_progress
    ) -> list[Granularity]:
        """Anchors of the training set with the present weights."""
        clustering = self.params.clustering
        soft_codes = self.encode(hasher, self.train, progress, compressed=False)
        return self._ranks.from_first(
            lambda: make_anchors(
                soft_codes,
                counts,
                iterations=clustering.iterations,
                restarts=clustering.restarts,
                points_per_centroid=clustering.points_per_centroid,
                mean_concentration=clustering.concentration,
                centres=clustering.centres,
                seed=self.params.seed,
            )
        )

    def measure(self, trainer: Trainer) -> dict[str, float]:
        """What tells whether training goes well: the state of the sampler, the codes and the clusters, the gap between training and
        validation videos and, where they have labels, how well validation videos find training videos.

        The compression of codes that are trained longer is learnt here, from the same codes of the training videos.
        """
        model, seed = trainer.model, self.params.seed
        figures = sampler_state(model, self._probe(self.train, PROBE_VIDEOS), draws=PROBE_DRAWS, seed=seed)
        codes = sign_codes(self._compressed(model.hasher).numpy())
        figures |= code_figures(codes)
        figures |= cluster_figures(trainer.granularities)
        alike = min(PROBE_VIDEOS, len(self.train), len(self._validation))
        if alike >= 2:
            figures |= gap_figures(
                model,
                self._probe(self.train, alike),
                self._probe(self._validation, alike),
                temperature=self.params.losses.temperature,
                tau_plus=self.params.losses.tau_plus,
                draws=GAP_DRAWS,
                seed=seed,
            )
        if len(self._validation):
            figures |= self._validation_gmaps(model.hasher, codes)
        return figures

    def _compressed(self, hasher: VideoHasher) -> Tensor:
        """Soft codes of the training videos, by the compression that is learnt of them where they are trained longer."""
        codes = self.encode(hasher, self.train, compressed=False)
        if hasher.compression is None:
            return codes
        if self._ranks.first:
            learn_compression(hasher, codes, seed=self.params.seed)
        self._ranks.share_weights(hasher.compression)
        compressed: Tensor = hasher.compression(codes.to(self.device))
        return compressed.cpu()

    def _probe(self, source: FrameSource, most: int) -> Tensor:
        """Features of some videos, evenly over all of them: neighbours in the file may be of one kind."""
        rows = np.linspace(0, len(source) - 1, min(most, len(source))).astype(np.int64)
        return source.fetch(rows).to(self.device).float()

    def _validation_gmaps(self, hasher: VideoHasher, database_codes: np.ndarray) -> dict[str, float]:
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
                    self.train.ids,
                    exclude_self=False,  # no video is in both splits
                ).gmap
        return figures

    def run_phase(
        self,
        name: str,
        *,
        epochs: int,
        checkpoints: Path,
        on_epoch: Callable[[dict[str, Any], float], None],
        progress: Progress,
        start: Path | None = None,
        anchors: Sequence[Granularity] = (),
        counts: Sequence[int] = (),
        refresh_every: int = 1,
    ) -> Path:
        """Train one phase, or go on with it; returns the folder of its last checkpoint."""
        if self._ranks is ALONE and self.params.running.gpus > 1:
            return train_together(
                self.params,
                self._file,
                {"name": name, "epochs": epochs, "counts": list(counts), "refresh_every": refresh_every},
                start=start,
                anchors=anchors,
                checkpoints=CheckpointFolder(checkpoints),
                on_epoch=on_epoch,
                progress=progress,
            )
        return train_phase(
            self.trainer(),
            self.config,
            Phase(
                name,
                epochs,
                refresh_every=refresh_every,
                checkpoint_every=self.params.running.checkpoint_every,
                measure_every=self.params.training.validate_every,
            ),
            start=start,
            initialize=self._initialize,
            anchors=anchors,
            refresh=lambda trainer: self.cluster(trainer.model.hasher, counts),
            measure=self.measure,
            on_epoch=on_epoch,
            checkpoints=CheckpointFolder(checkpoints),
            progress=progress,
        )
