"""Everything that stands in params.yaml, typed. There are no defaults here: every key must be in the file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.fields import FieldInfo

# What pydantic calls the kinds of a value that is a word or a section; messages leave them out.
KINDS = A_WORD, EVEN, SHOTS = "a word", "a section on even segments", "a section on shots"
Split = Literal["train", "validation", "database", "query"]


class Section(BaseModel):
    """A part of params.yaml: read-only, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def keys_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by their keys in params.yaml, which may have other names than in Python."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


class Ray(Section):
    """The Ray cluster that extracts features."""

    address: str = Field(min_length=1)
    videos: Annotated[str, Field(min_length=1)] | None


class Running(Section):
    """How things are run. Nothing in it changes results."""

    device: Literal["auto", "cpu", "cuda"]
    gpus: int = Field(ge=1, le=64)
    workers: int = Field(ge=0, le=256)
    checkpoint_every: int = Field(ge=1)
    wait_for_services: float = Field(ge=0, le=86400)
    trust_torchscript: bool
    extraction: Literal["local", "ray"]
    ray: Ray


class Arcade(Section):
    """The demo corpus."""

    clips: int = Field(ge=1, le=1_000_000)
    games: int = Field(ge=2, le=93)
    reuploads: int = Field(ge=1, le=100)
    distortion: float = Field(ge=0, le=1)
    bad_frames: float = Field(ge=0, le=0.5)
    frames: int = Field(ge=2, le=300)
    size: int = Field(ge=32, le=1080)


class Columns(Section):
    """Names of the columns of a labels table; None where it has no such column."""

    file: str = Field(min_length=1)
    label: str | None
    fine_label: str | None
    group: str | None
    split: str | None


class Folder(Section):
    """A folder of the user's videos."""

    labels_csv: str | None
    columns: Columns


class SplitShares(Section):
    """How videos are divided; the rest is for training."""

    validation: float = Field(ge=0, lt=1)
    database: float = Field(ge=0, lt=1)
    query: float = Field(ge=0, lt=1)
    validation_groups: tuple[str, ...] = Field(strict=False)
    query_groups: tuple[str, ...] = Field(strict=False)


class Published(Section):
    """Feature files of a published data set."""

    dataset: Literal["activitynet", "fcvid", "ucf101", "hmdb51"]
    counts: Literal["check", "ignore"]


class Corpus(Section):
    """Stage corpus."""

    source: Literal["arcade", "folder", "published"]
    path: str = Field(min_length=1)
    arcade: Arcade
    folder: Folder
    split: SplitShares
    published: Published


Above0 = Annotated[float, Field(gt=0)]


class OwnModelSettings(Section):
    """What an image model of the user's own wants."""

    architecture: str | None
    mean: tuple[float, float, float] = Field(strict=False)
    std: tuple[Above0, Above0, Above0] = Field(strict=False)
    colours: Literal["rgb", "bgr"]


class Features(Section):
    """Stage features."""

    backbone: str = Field(min_length=1)
    engine: Literal["auto", "torch", "openvino", "onnxruntime"]
    precision: Literal["auto", "float32", "bfloat16"]
    frames: int = Field(ge=2, le=1000)
    size: int = Field(ge=32, le=1024)
    batch_size: int = Field(ge=1)
    thumbnail: int = Field(ge=16, le=1024)
    own: OwnModelSettings


class Model(Section):
    """Sizes of the network."""

    bits: int = Field(ge=8, le=4096, multiple_of=8)
    training_bits: Literal["by_length"] | Annotated[int, Field(ge=8, le=4096, multiple_of=8)] | None
    encoder: Literal["transformer", "state_space"]
    width: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_ratio: float = Field(ge=0)
    decoder_layers: int = Field(ge=1)
    decoder_width: int = Field(ge=1)
    decoder_heads: int = Field(ge=1)
    decoder_positions: bool
    decoder_error: Literal["squared", "cosine"]
    feature_dropout: float = Field(ge=0, lt=1)
    code_noise: float = Field(ge=0, le=10)
    center_features: bool
    position_scale: float = Field(ge=0)
    pooling: Literal["votes", "values"]
    start: Literal["random", "itq"]
    whitening: Literal["auto", "by_length"] | Annotated[float, Field(ge=0, le=1)]
    within_video: Literal["auto"] | Annotated[float, Field(gt=0, le=1000)] | None


class Sampler(Section):
    """Which frames the encoder sees while training."""

    kind: Literal["adversarial", "cooperative", "random", "shuffled"]
    mask_ratio: float = Field(gt=0, lt=1)
    gumbel: float = Field(ge=0)
    noise: float = Field(ge=0)
    temperature: float = Field(gt=0)
    reversal: float = Field(ge=0)
    reversal_ramp: int = Field(ge=0)


class Evened(Section):
    """Factors of loss weights where the start evens out what changes within videos."""

    alpha: float = Field(ge=0)
    gamma: float = Field(ge=0)


class Losses(Section):
    """Weights and temperatures of the loss terms."""

    reconstruction: float = Field(ge=0)
    alpha: float = Field(ge=0)
    beta: float = Field(ge=0)
    gamma: float = Field(ge=0)
    evened: Evened | None
    temperature: float = Field(gt=0)
    tau_plus: float = Field(ge=0, lt=1)
    negatives: Literal["all", "repeated"]
    target: Literal["cluster", "nearest"]
    schedule: Literal["together", "cyclic"]


class Training(Section):
    """The optimizer and its rhythm, in both phases."""

    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    learning_rate_floor: float = Field(ge=0)
    step_epochs: int = Field(ge=1)
    step_factor: float = Field(gt=0, le=1)
    precision: Literal["auto", "float32", "bfloat16"]
    validate_every: int = Field(ge=1)


class Warmup(Section):
    """Stage warmup."""

    epochs: int = Field(ge=1, le=100_000)


class Round(Section):
    """One round of training with clusters."""

    after: str
    clusters: tuple[int, ...] = Field(strict=False, min_length=1)
    epochs: int = Field(ge=1, le=100_000)
    refresh_every: int = Field(ge=1)


class Clustering(Section):
    """k-means."""

    iterations: int = Field(ge=1)
    restarts: int = Field(ge=1)
    points_per_centroid: int = Field(ge=1)
    concentration: float = Field(gt=0)
    centres: Literal["voting", "kmeans"]
    points: Literal["values", "codes"]
    temperatures: Literal["by_density", "equal"]


class Checks(Section):
    """Thresholds of the checks for failure while training."""

    patience: int = Field(ge=1)
    score_spread: float = Field(ge=0, le=0.5)
    selection_entropy: float = Field(ge=0, le=1)
    score_error_correlation: float = Field(ge=0, le=1)
    plateau_measurements: int = Field(ge=1)
    plateau_gain: float = Field(ge=0)
    bit_balance: float = Field(ge=0, le=1)
    bit_correlation: float = Field(ge=0, le=1)
    code_diversity: float = Field(ge=0, le=1)
    empty_clusters: float = Field(ge=0, le=1)
    giant_cluster: float = Field(ge=0, le=1)
    gap_growth: float = Field(ge=0)
    start_loss: float = Field(ge=0, le=1)


class Evaluate(Section):
    """Stage evaluate."""

    database: tuple[Split, ...] = Field(strict=False, min_length=1)
    query: tuple[Literal["query", "database"], ...] = Field(strict=False, min_length=1)
    exclude_self: bool
    videos_shown: int = Field(ge=0, le=100)
    queries_shown: int = Field(ge=0, le=100)


class Register(Section):
    """Stage register."""

    model: str = Field(min_length=1)
    alias: str = Field(min_length=1)


class Promotion(Section):
    """`ssvh promote`: the gate."""

    after_training: bool
    margin: float = Field(ge=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    resamples: int = Field(ge=100, le=1_000_000)
    videos_per_second: float = Field(ge=0)
    megabytes: float = Field(gt=0)


class Watch(Section):
    """`ssvh watch`."""

    settle: float = Field(ge=0)
    retrain_share: float = Field(ge=0, le=1)
    least_videos: int = Field(ge=1)
    radius: float = Field(ge=0, le=1)
    bit_shift: float = Field(ge=0, le=2)
    unseen_codes: float = Field(ge=0, le=1)


class EvenSegments(Section):
    """Of videos that are longer than one segment."""

    seconds: float = Field(gt=0)
    overlap: float = Field(ge=0, le=0.95)


class ShotSegments(Section):
    """From cut to cut."""

    threshold: float = Field(gt=0, le=100)


def _kind_of_segments(value: object) -> str:
    if isinstance(value, ShotSegments) or (isinstance(value, dict) and "threshold" in value):
        return SHOTS
    return EVEN if isinstance(value, dict | EvenSegments) else A_WORD


class Index(Section):
    """`ssvh encode`, `ssvh index` and what changes an index."""

    hasher: str = Field(min_length=1)
    batch_size: int = Field(ge=1)
    segments: Annotated[
        Annotated[Literal["whole", "shots"], Tag(A_WORD)]
        | Annotated[EvenSegments, Tag(EVEN)]
        | Annotated[ShotSegments, Tag(SHOTS)],
        Discriminator(_kind_of_segments),
    ]
    backend: Literal["folder", "postgres"]
    url: str
    exact_up_to: int = Field(ge=1)
    approximate: Literal["cells", "hnsw"]
    cells: int = Field(ge=2, le=1_000_000)
    probes: int = Field(ge=1)
    reach: int = Field(ge=1, le=1000)


class Ablation(Section):
    """`ssvh ablate`. A variant's changes are checked as those of params.yaml would be
    (tasks/experiments/ablation/variants.py).
    """

    resamples: int = Field(ge=100, le=1_000_000)
    confidence: float = Field(gt=0, lt=1)
    converged: float = Field(gt=0, le=1)
    variants: dict[str, dict[str, Any]]


class Sensitivity(Section):
    """`ssvh sensitivity`: values by dotted key (checked in tasks/experiments/sensitivity.py)."""

    values: dict[str, list[Any]]
    grid: dict[str, list[Any]]


class Tuning(Section):
    """`ssvh tune`. The ranges in `space` are checked in tasks/tuning/space.py."""

    trials: int = Field(ge=1)
    search: tuple[str, ...] = Field(strict=False, min_length=1)
    space: dict[str, Any]
    averaged: int = Field(ge=1)
    random_trials: int = Field(ge=1)
    least_epochs: int = Field(ge=1)
    reduction: int = Field(ge=2)
    heartbeat: int = Field(ge=1)


class Params(Section):
    """The whole of params.yaml."""

    seed: int = Field(ge=0, le=2**31 - 1)
    running: Running
    corpus: Corpus
    features: Features
    model: Model
    sampler: Sampler
    losses: Losses
    training: Training
    warmup: Warmup
    rounds: dict[str, Round]
    clustering: Clustering
    checks: Checks
    selection: Literal["auto", "label_free", "labels", "end"]
    evaluate: Evaluate
    register_: Register = Field(alias="register")
    promotion: Promotion
    watch: Watch
    index: Index
    ablation: Ablation
    sensitivity: Sensitivity
    tuning: Tuning

    @property
    def last_state(self) -> str:
        """Name of the last training state: "round-2", or "warmup" without rounds."""
        return f"round-{len(self.rounds)}" if self.rounds else "warmup"

    @property
    def states(self) -> list[str]:
        """Names of the training states in order: "warmup", "round-1", "round-2", ..."""
        return ["warmup", *(f"round-{number}" for number in range(1, len(self.rounds) + 1))]
