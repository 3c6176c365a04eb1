"""The library's objects of a training, made from params.yaml."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psutil
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.losses.objective import Objective
from ssvh_model.model.autossvh import DecoderConfig
from ssvh_model.model.hasher import HasherConfig, VideoHasher
from ssvh_model.model.precision import Precision, best_precision
from ssvh_model.model.sampler import SamplerConfig
from ssvh_model.progress import Progress, no_progress
from ssvh_model.retrieval.video_set import VideoSet
from ssvh_model.training.checkpoint import ModelConfig
from ssvh_model.training.compressing import training_bits_by_length
from ssvh_model.training.encoded import encode_rows
from ssvh_model.training.phase import Phase
from ssvh_model.training.ranks import ALONE, Ranks
from ssvh_model.training.session import TrainingSession
from ssvh_model.training.settings import ClusteringSettings, Initialization, TrainingSettings
from ssvh_model.training.trainer import Optimization
from tasks.machine.device import pick_device
from tasks.params.cross_checks import mask_problem
from tasks.params.sections import Evened, Params


def hasher_config(
    params: Params, *, frames: int, feature_size: int, precision: Precision = "float32"
) -> HasherConfig:
    """What the hasher is built from, for videos of M `frames` with D = `feature_size` numbers each.

    Args:
        params: section model counts.
        frames, feature_size: of the features.
        precision: of the codes.
    """
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
        precision=precision,
        encoder=model.encoder,
    )


def model_config(params: Params, file: FeatureFile, precision: Precision) -> ModelConfig:
    """What the model is built from, for the features at hand; it is trained and makes codes in one
    precision.

    Raises:
        UserError: videos have too few frames for some to be hidden and some visible.
    """
    _, frames, size = file.shape
    model, sampler = params.model, params.sampler
    if (problem := mask_problem(sampler.mask_ratio, frames)) is not None:
        raise UserError(f"{file.path}: has {frames} frames a video, and {problem}")
    return ModelConfig(
        hasher_config(params, frames=frames, feature_size=size, precision=precision),
        DecoderConfig(
            width=model.decoder_width,
            layers=model.decoder_layers,
            heads=model.decoder_heads,
            positions=model.decoder_positions,
            error=model.decoder_error,
        ),
        SamplerConfig(
            kind=sampler.kind,
            mask_ratio=sampler.mask_ratio,
            gumbel=sampler.gumbel,
            noise=sampler.noise,
            temperature=sampler.temperature,
        ),
    )


def training_settings(params: Params, file: FeatureFile, device: torch.device) -> TrainingSettings:
    """All that params.yaml says of a training on the features at hand, on a device, but the length of its
    phases.
    """
    model, training, clustering = params.model, params.training, params.clustering
    precision = best_precision(device) if training.precision == "auto" else training.precision
    objective = Objective(**params.losses.model_dump(exclude={"evened"}))
    return TrainingSettings(
        model=model_config(params, file, precision),
        initialization=Initialization(
            start=model.start,
            center_features=model.center_features,
            whitening=model.whitening,
            within_video=model.within_video,
        ),
        objective=objective,
        evened_objective=_evened(objective, params.losses.evened),
        optimization=Optimization(
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            learning_rate_floor=training.learning_rate_floor,
            step_epochs=training.step_epochs,
            step_factor=training.step_factor,
            feature_dropout=model.feature_dropout,
            code_noise=model.code_noise,
            reversal=params.sampler.reversal,
            reversal_ramp=params.sampler.reversal_ramp,
            precision=precision,
        ),
        clustering=ClusteringSettings(
            iterations=clustering.iterations,
            restarts=clustering.restarts,
            points_per_centroid=clustering.points_per_centroid,
            mean_concentration=clustering.concentration,
            centres=clustering.centres,
            points=clustering.points,
            temperatures=clustering.temperatures,
        ),
        seed=params.seed,
    )


def _evened(objective: Objective, factors: Evened | None) -> Objective:
    if factors is None:
        return objective
    return replace(objective, alpha=factors.alpha * objective.alpha, gamma=factors.gamma * objective.gamma)


def training_session(params: Params, file: FeatureFile, ranks: Ranks = ALONE) -> TrainingSession:
    """A training on one feature file as params.yaml says. A split is held in memory if it takes less than
    half of what is free.

    Raises:
        UserError: as `TrainingSession`, or there is no such device.
    """
    device = pick_device(params.running.device)
    return TrainingSession(
        training_settings(params, file, device),
        file,
        device=device,
        memory_limit=psutil.virtual_memory().available / 2,
        ranks=ranks,
    )


def phase(params: Params, name: str, *, epochs: int, refresh_every: int = 1) -> Phase:
    """A phase with the rhythm that params.yaml gives to checkpoints and measurements."""
    return Phase(
        name,
        epochs,
        refresh_every=refresh_every,
        checkpoint_every=params.running.checkpoint_every,
        measure_every=params.training.validate_every,
    )


def video_set(
    params: Params,
    hasher: VideoHasher,
    file: FeatureFile,
    rows: np.ndarray,
    progress: Progress = no_progress,
) -> VideoSet:
    """Some rows of a feature file as `encode_rows` makes them, in batches as large as in training and on the
    same device.
    """
    device = pick_device(params.running.device)
    return encode_rows(
        hasher.to(device), file, rows, batch_size=params.training.batch_size, device=device, progress=progress
    )
