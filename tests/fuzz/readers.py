"""How the product reads each kind of input, by the functions that its commands and stages call.

A reader gets a folder with an input's files. It returns None, or the reason for which the input is left out,
or raises what the product raises.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fuzz.seeds import CLASSES_KEY, CSV_COLUMNS, DATASET, RUN, VIDEOS, make_seeds, tiny_trainer

SECRET = "outside of the folder"  # stands in a file that no input may lead to


def prepare(kinds: Sequence[str], desk: Path) -> None:
    """Make what readers need beside their inputs, before anything is watched."""
    torch.set_num_threads(1)
    if "journal" in kinds:
        mlflow_client(desk.resolve())
    # Libraries are imported, and look around, at the first need.
    for kind in kinds:
        seeds = desk / "seeds" / kind
        shutil.rmtree(seeds, ignore_errors=True)
        make_seeds(kind, seeds)
        for folder in sorted(seeds.iterdir()):
            READERS[kind](folder.resolve())
            os.chdir(desk)


def read_video(folder: Path) -> str | None:
    """As the stages corpus and features: looked into, then its frames are decoded and their thumbnails
    made.
    """
    from ssvh_model.corpus.folder import find_videos, look_into
    from ssvh_model.manifest import Video
    from ssvh_model.progress import no_progress
    from ssvh_model.video.container import UnreadableVideo
    from ssvh_model.video.decoding import sample_frames
    from ssvh_model.video.places import LocalPlace
    from ssvh_model.video.shard_extraction import encode_thumbnail

    place = LocalPlace(folder)
    path = next(iter(find_videos(place)[0]), "clip.mp4")  # a name that a list may have, and that is not there
    (video,) = look_into(place, [Video(id=path, path=path)], 1, no_progress)
    if not video.usable:
        return video.reason
    try:
        sampled = sample_frames(folder / path, 4, longer_side=64)
    except UnreadableVideo as error:
        return error.reason
    for frame in sampled.frames:
        encode_thumbnail(frame, 32)
    return sampled.remark or None


def read_features(folder: Path) -> None:
    """As a training, or a search in films: everything of the file, the features of all its rows."""
    from ssvh_model.features import FeatureFile
    from ssvh_model.moments.film_features import FilmFile, is_film_file

    path = folder / "features.h5"
    if path.is_file() and is_film_file(path):
        film = FilmFile(path)
        film.segments(np.arange(len(film.facts.spans)))
        return
    file = FeatureFile(path)
    file.meta, file.frame_indices  # noqa: B018 - both read
    file.read(np.arange(len(file)))


def read_other_features(folder: Path) -> None:
    """As `ssvh ablate --features`: a file of another form is made one of ours."""
    from ssvh_model.corpus.other_features import as_feature_file

    file = as_feature_file(folder / "other.h5", folder / "made")
    file.read(np.arange(len(file)))


def read_published(folder: Path) -> None:
    """As the stages corpus and features for published feature files."""
    from ssvh_model.corpus.published.features import check_features, link_features
    from ssvh_model.corpus.published.sources import read_published as read
    from ssvh_model.corpus.published.sources import read_sources, write_sources
    from ssvh_model.corpus.splits import SplitSpec
    from ssvh_model.features import FeatureFile

    split = SplitSpec(0.1, 0.0, 0.0, (), ())
    videos, sources = read(folder, DATASET, check_counts=False, split=split, seed=1)
    write_sources(folder / "sources.json", sources)
    check_features(read_sources(folder / "sources.json"))
    link_features(folder / "features.h5", sources, videos, dataset=DATASET, readable_in=folder)
    file = FeatureFile(folder / "features.h5")
    file.read(np.arange(len(file)))


def read_mat(folder: Path) -> None:
    """Labels of a published data set."""
    from ssvh_model.corpus.mat_labels import read_mat_labels

    read_mat_labels(folder / "labels.mat", CLASSES_KEY, videos=VIDEOS, features=Path("features.h5"))


def read_hasher(folder: Path) -> None:
    """As `ssvh encode --hasher ./folder`: loaded, and codes made with it."""
    from ssvh_model.index.video_encoder import VideoEncoder
    from tasks.registry.find_hasher import find_hasher

    hasher, features = find_hasher(f"{folder}{os.sep}", model="video-hasher").load()
    config = hasher.config
    if config.frames * config.feature_size < 10**6:
        codes = VideoEncoder(hasher, features).codes_of(np.ones((1, config.frames, config.feature_size)))
        assert codes.shape == (1, -(-config.bits // 8)), "codes of another length than the hasher says"


def read_state(folder: Path) -> None:
    """As a stage that goes on from a checkpoint, and as the evaluation."""
    from ssvh_model.training.checkpoint import (
        CheckpointFolder,
        load_hasher,
        load_history,
        load_model,
        restore_trainer,
    )
    from ssvh_model.training.trainer import NonFiniteLossError

    newest = CheckpointFolder(folder).newest()
    assert newest is not None
    trainer = tiny_trainer()
    history = restore_trainer(newest, trainer)
    [row for row in history if row["phase"] == "warmup"]
    with contextlib.suppress(NonFiniteLossError):  # which a stage reports in a line
        trainer.train_epoch()
    load_history(newest)
    load_model(newest)
    load_hasher(newest)


def read_anchors(folder: Path) -> None:
    """Clusters of a round, as its training begins with them."""
    from ssvh_model.clustering.anchors import load_anchors

    for clusters in load_anchors(folder / "anchors.safetensors"):
        clusters.sizes.tolist()


def read_index(folder: Path) -> None:
    """As `ssvh search`, `ssvh remove` and `ssvh index --refresh`."""
    from ssvh_model.index.index_folder import IndexFolder
    from ssvh_model.index.searcher import Searcher

    searcher = Searcher(folder)
    code = np.zeros((2, -(-searcher.bits // 8)), dtype=np.uint8)
    for hits in searcher.nearest_to_codes(code, 5):
        _inside(text for hit in hits for text in (hit.id, hit.label, hit.path))
    index = IndexFolder(folder)
    from ssvh_model.index.snapshot import open_snapshot

    snapshot = open_snapshot(folder)
    whole = snapshot.whole()
    _inside([*whole.ids, *whole.labels, *whole.paths])
    index.settings()
    snapshot.removed_ids()
    if ids := snapshot.ids():
        with index.alone():
            index.remove(ids[:1])
        open_snapshot(folder).whole()


def read_codes(folder: Path) -> None:
    """As `ssvh index codes.h5`."""
    from ssvh_model.index.coded_videos import CodesFile
    from tasks.index.build import is_codes_file

    path = folder / "codes.h5"
    if is_codes_file(path):
        videos = CodesFile(path).whole()
        _inside([*videos.ids, *videos.labels, *videos.paths])


def read_manifest(folder: Path) -> None:
    """As every stage after the corpus."""
    from ssvh_model.manifest import read_manifest as read
    from ssvh_model.manifest import write_manifest

    videos = read(folder / "manifest.csv")
    assert not any(Path(video.path).is_absolute() or ".." in Path(video.path).parts for video in videos)
    write_manifest(folder / "written.csv", videos)


def read_labels(folder: Path) -> None:
    """As the stage corpus for a folder of the user's: what it finds is written as a manifest and read
    again.
    """
    from ssvh_model.corpus.folder import FolderColumns, scan_folder
    from ssvh_model.corpus.splits import SplitSpec, assign_splits
    from ssvh_model.manifest import read_manifest, write_manifest
    from ssvh_model.progress import no_progress
    from ssvh_model.video.places import LocalPlace

    columns = FolderColumns(
        **dict(zip(("file", "label", "fine_label", "group", "split"), CSV_COLUMNS, strict=True))
    )
    place = LocalPlace(folder)
    videos = scan_folder(place, labels_csv="labels.csv", columns=columns, workers=1, progress=no_progress)
    assign_splits([video for video in videos if video.usable], SplitSpec(0.1, 0.2, 0.2, (), ()), seed=1)
    write_manifest(folder / "manifest.csv", videos)
    read_manifest(folder / "manifest.csv")


def read_params(folder: Path) -> None:
    """As `ssvh params check` and the experiments."""
    from tasks.experiments.ablation.variants import variants
    from tasks.experiments.sensitivity import find_trials
    from tasks.params.load import load_params
    from tasks.tuning.space import read_space

    params = load_params(folder / "params.yaml")
    variants(params)
    read_space(params)
    find_trials(params)


def read_preset(folder: Path) -> None:
    """As `ssvh preset list` and `ssvh preset apply`, in a project's folder."""
    from tasks.params.presets import all_presets, apply_presets, params_with_presets

    os.chdir(folder)
    names = [preset.name for preset in all_presets() if preset.description is not None]
    params_with_presets(names, changes={})
    apply_presets(names, changes={})


def read_journal(folder: Path) -> str | None:
    """As every process that opens MLflow's store."""
    from tasks.records.journal import _told, send_left_behind

    _told.clear()  # each input is the first that a process meets
    client, uri = mlflow_client(None)
    said: list[str] = []
    os.chdir(folder)
    sent = send_left_behind(client, uri, said.append)
    assert all(len(line.splitlines()) == 1 for line in said), said
    assert sent, f"MLflow is there, but counts as away for ever: {said}"
    left = [path for path in Path(".unsent").glob("*.jsonl") if path.is_file()]
    assert not left or any("stays" in line or "waits for another" in line for line in said), (
        "it is still there"
    )
    refused = [line for line in said if not line.startswith("sent")]
    return refused[0] if refused else None


@cache
def _client(desk: Path) -> tuple[Any, str]:
    from mlflow import MlflowClient
    from mlflow.entities import RunStatus

    uri = f"sqlite:///{desk / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    if not client.search_experiments(filter_string="name = 'fuzz'"):
        experiment = client.create_experiment("fuzz", artifact_location=str(desk / "artifacts"))
        client._tracking_client.store  # noqa: B018 - opened
        run = client.create_run(experiment, run_name="fuzz")
        client.log_batch(run.info.run_id)
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FINISHED))
        (desk / "run").write_text(run.info.run_id)
    return client, uri


_desks: list[Path] = []


def mlflow_client(desk: Path | None) -> tuple[Any, str]:
    """A client of a real store with one run, and the store's address; `desk` is where it is made, the first
    time.
    """
    if desk is not None:
        _desks.append(desk)
    client, uri = _client(_desks[0])
    return _Renamed(client, (_desks[0] / "run").read_text()), uri


class _Renamed:
    """The client, for which the run that journals name is the store's: MLflow chooses the ids of its runs
    itself.
    """

    def __init__(self, client: Any, run: str) -> None:
        self._client, self._run = client, run

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        return lambda run, *rest, **named: call(self._run if run == RUN else run, *rest, **named)


def _inside(texts: Any) -> None:
    assert SECRET not in set(texts), "read from a file outside of its folder"


READERS: dict[str, Callable[[Path], str | None]] = {
    "video": read_video,
    "features": read_features,
    "other features": read_other_features,
    "published": read_published,
    "mat": read_mat,
    "hasher": read_hasher,
    "state": read_state,
    "anchors": read_anchors,
    "index": read_index,
    "codes": read_codes,
    "manifest": read_manifest,
    "labels": read_labels,
    "params": read_params,
    "preset": read_preset,
    "journal": read_journal,
}
KINDS = tuple(READERS)
