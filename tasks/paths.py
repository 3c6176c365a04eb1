"""Every path of the pipeline, once. All are relative to the project's folder, where dvc.yaml is."""

from __future__ import annotations

from pathlib import Path

from ssvh_model.errors import UserError

PARAMS = Path("params.yaml")
PRESETS = Path("presets")
PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")

CODE = Path("code")  # digests of the installed code (tasks/project/code.py); a clone has the code itself
LAID_OUT = (
    CODE / "files.sha256"
)  # of the files that a project began with (tasks/project/layout.py); a clone has none
BACKBONES = Path("backbones")  # image models of the user's own

CORPUS = Path("data/corpus")
CORPUS_MANIFEST = CORPUS / "manifest.csv"
CORPUS_SOURCES = CORPUS / "sources.json"  # published feature files; other corpora have none
FEATURES = Path("data/features")
FEATURE_FILE = FEATURES / "features.h5"
THUMBNAIL_FILE = FEATURES / "thumbnails.h5"
FEATURE_SHARDS = FEATURES / "shards"  # what the two files before join
FEATURES_MANIFEST = FEATURES / "manifest.csv"

STATES = Path("states")
ANCHORS = "anchors.safetensors"  # in a state folder of clusters
METRICS = Path("metrics")
EVALUATION = METRICS / "evaluation.json"
CURVES = METRICS / "curves"
PICTURES = Path("pictures")
REGISTRY = Path("registry")
REGISTERED_VERSION = REGISTRY / "version.json"
RUNS = Path("runs")
INDEX = Path("index")  # codes of videos, and what `ssvh search` looks into

RESULTS = Path("results")  # of experiments: ablations, sensitivity, transfer

WORK = Path(".work")
PREFECT_HOME = Path(".prefect")
MLFLOW_STORE = Path("mlflow.db")
MLFLOW_ARTIFACTS = Path("mlartifacts")
OPTUNA_STORE = Path("optuna.db")
UNSENT = Path(".unsent")  # what MLflow has not taken yet (tasks/records/journal.py)


def state(name: str) -> Path:
    """Folder of a training state: `warmup`, `clusters-1`, `round-1`, ..."""
    return STATES / name


def run_record(stage: str) -> Path:
    """The file that names a stage's MLflow run."""
    return RUNS / f"{stage.replace('@', '-')}.json"


def video_root(source: str, path: str) -> str:
    """The folder that the manifest's paths are relative to, or its address."""
    return str(CORPUS) if source == "arcade" else path


def check_project_folder() -> None:
    """Make sure that the current folder is a project's.

    Raises:
        UserError: it is not.
    """
    if not PIPELINE.is_file():
        raise UserError(f"{Path.cwd()}: has no {PIPELINE}; start this in the project's folder")
