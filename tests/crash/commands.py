"""The commands that the campaign kills: what each starts from, which of its processes are worth a kill, and
what must come out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.victims import REFUSED
from tests.projects import Project

# Smaller still than what the end-to-end tests run: a kill costs the time that the command has run for.
SMALL: dict[str, Any] = {
    "corpus__arcade__clips": 48,
    "warmup__epochs": 6,
    "rounds": {
        "1": {"after": "warmup", "clusters": [4, 6], "epochs": 4, "refresh_every": 2},
        "2": {"after": "round-1", "clusters": [8], "epochs": 2, "refresh_every": 2},
    },
    "model__start": "random",
    "promotion__confidence": 0.01,  # whichever is better on these few queries is promoted
    "promotion__resamples": 100,
    "checks__patience": 1000,
    "index__hasher": "challenger",
}
# Better than the first one, which begins with random weights and hardly trains.
SECOND_VERSION: dict[str, Any] = {"model__start": "itq"}
ANY = ("everything", "the root alone", "any one", "all but one", "stopped for a while")
Outcome = dict[str, Any]
MODEL = "video-hasher"


@dataclass(frozen=True)
class Command:
    """One of the real commands.

    Attributes:
        name: for tables.
        words: what is typed after `python -m`.
        template: of the project that it starts from; see `templates.py`.
        outcome: what must be as after an undisturbed run.
        victims: names in `victims.VICTIMS`, or `REFUSED`, as often as they are to be drawn.
        changes: of params.yaml before it.
        services: it needs: "prefect", "postgresql".
        most_kills: before it is left alone.
        haste: above 1, earlier moments are drawn more often: of long commands, more can be killed so.
        per_pipeline: whether it counts as a kill of the whole pipeline.
        afterwards: commands that finish what it begins, once it ended well.
        searched: whether the index is searched all the while.
        statuses: with which it may end undisturbed; run again after kills, it must end with the same.
    """

    name: str
    words: tuple[str, ...]
    template: str
    outcome: Callable[[Project], Outcome]
    victims: tuple[str, ...] = ANY
    changes: dict[str, Any] | None = None
    services: tuple[str, ...] = ()
    most_kills: int = 20
    haste: float = 1.0
    per_pipeline: bool = False
    afterwards: tuple[tuple[str, ...], ...] = ()
    searched: bool = False
    statuses: tuple[int, ...] = (0,)


def pipeline_outcome(project: Project) -> Outcome:
    """Digests of everything that DVC has but what names runs and versions, and of all weights and figures
    themselves.
    """
    from ruamel.yaml import YAML

    lock = YAML(typ="safe").load((project.folder / "dvc.lock").read_text())
    outputs = {
        output["path"]: output["md5"]
        for stage in lock["stages"].values()
        for output in stage.get("outs", [])
        if not output["path"].startswith(("runs/", "registry"))
    }
    files = [*project.folder.glob("states/*/model.safetensors"), project.folder / "metrics/evaluation.json"]
    return {"outputs": outputs, "files": digests(project.folder, files), **registered(project)}


def registered(project: Project) -> Outcome:
    """The versions of the model, and which of them the aliases name."""
    client = project.client()
    versions = client.search_model_versions(f"name = '{MODEL}'")
    aliases = client.get_registered_model(MODEL).aliases if versions else {}
    return {
        "versions": sorted(int(version.version) for version in versions),
        "aliases": {alias: int(version) for alias, version in aliases.items()},
    }


def features_outcome(project: Project) -> Outcome:
    """Content of the shards of features."""
    return {"files": digests(project.folder, sorted((project.folder / "data/features").rglob("*")))}


def index_outcome(project: Project) -> Outcome:
    """Codes of the index by id, what was removed, and the features that are kept for the next hasher."""
    from ssvh_model.features import FeatureFile
    from ssvh_model.index.snapshot import open_snapshot

    folder = project.folder / "index"
    snapshot = open_snapshot(folder)
    ids = snapshot.ids()
    kept = sorted(video for path in (folder / "added").glob("*.h5") for video in FeatureFile(path).ids)
    return {
        "codes": {video: words.tolist() for video, words in zip(ids, snapshot.words, strict=True)},
        "order": list(ids),
        "removed": sorted(snapshot.removed_ids()),
        "kept features": kept,
        "hasher": snapshot.hasher.sha256,
    }


def promotion_outcome(project: Project) -> Outcome:
    """Versions and aliases."""
    return registered(project)


def study_outcome(project: Project) -> Outcome:
    """That the study has its trials; which parameters they had depends on which worker was faster."""
    tables = list((project.folder / "results/tuning").glob("*/table.json"))
    return {
        "tables": len(tables),
        "trials": [len(json.loads(table.read_text())["trials"]) for table in tables],
    }


def digests(folder: Path, files: list[Path]) -> dict[str, str]:
    """SHA-256 of files, by their paths below `folder`."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


OF_PIPELINE = (
    *ANY,
    "everything",
    "the root alone",
    "the stage",
    "the flow",
    "dvc",
    "the Prefect server",
    "a decoder or renderer",
)
CLI = "flows.cli"

COMMANDS = (
    Command(
        "run",
        (CLI, "run"),
        "fresh",
        pipeline_outcome,
        (*OF_PIPELINE, "full disk"),
        most_kills=20,
        haste=4,
        per_pipeline=True,
    ),
    Command(
        "run, by two trainers",
        (CLI, "run"),
        "features",
        pipeline_outcome,
        (*OF_PIPELINE, "torchrun", "a trainer"),
        changes={"running__gpus": 2},
        most_kills=20,
        haste=4,
        per_pipeline=True,
    ),
    Command(
        "train on a worker",
        ("tests.crash.on_a_worker",),
        "finished",
        pipeline_outcome,
        (*ANY, "a worker", "the stage", "dvc", "the flow", REFUSED),
        changes=SECOND_VERSION,
        services=("prefect",),
        most_kills=20,
        haste=4,
        per_pipeline=True,
    ),
    Command("index", (CLI, "index"), "finished", index_outcome),
    Command("add", (CLI, "add", "new-clips"), "indexed", index_outcome, (*ANY, "a decoder or renderer")),
    Command("remove", (CLI, "remove", "REMOVED"), "indexed", index_outcome),
    Command("promote", (CLI, "promote", "2"), "two versions", promotion_outcome, statuses=(0, 1)),
    Command("rollback", (CLI, "rollback", "--to", "1", "--reason", "crash"), "promoted", promotion_outcome),
    Command(
        "tune, two workers",
        (CLI, "tune", "--workers", "2"),
        "finished",
        study_outcome,
        (*ANY, "a tuning worker", "the Prefect server", REFUSED),
        changes={
            "tuning__trials": 4,
            "tuning__search": ["losses.beta"],
            "tuning__space": {"losses.beta": {"from": 0.01, "to": 1.0, "scale": "log"}},
            "tuning__heartbeat": 5,
        },
        services=("postgresql",),
        most_kills=6,
    ),
    Command(
        "extract, two workers",
        (CLI, "extract", "--workers", "2"),
        "corpus",
        features_outcome,
        (*ANY, "a decoder or renderer", "the Prefect server"),
        afterwards=(("dvc", "repro", "features"),),
    ),
    Command("search while the index is switched", (CLI, "index"), "indexed", index_outcome, searched=True),
)
