"""Small real inputs of every kind, made by the project's own writers: what mutations begin with.

Every kind has a folder, and in it a folder for each seed, which holds the files of one input.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from tests.hashers import write_hasher

REPOSITORY = Path(__file__).resolve().parents[2]
VIDEOS = 6  # rows of a .mat file of labels
CLASSES_KEY = "labels"
DATASET = "ucf101"
CSV_COLUMNS = ("file", "label", "fine label", "group", "split")
RUN = "0123456789abcdef0123456789abcdef"  # that journals are of
CLIPS = (
    ("h264.mp4", "libx264", {"movflags": "faststart"}),
    ("h264.mkv", "libx264", {}),
    ("h264.ts", "libx264", {}),
    ("h264.flv", "libx264", {}),
    ("mpeg4.avi", "mpeg4", {}),
    ("mjpeg.mov", "mjpeg", {}),
    ("vp9.webm", "libvpx-vp9", {}),
    ("mpeg2.mpg", "mpeg2video", {}),
    ("mpeg4.nut", "mpeg4", {}),
    ("gif.gif", "gif", {}),
)


def make_seeds(kind: str, folder: Path) -> None:
    """Write the seeds of a kind as folders in `folder`."""
    SEEDS[kind](folder)


def videos(folder: Path) -> None:
    """Clips of four frames in many containers."""
    for name, codec, options in CLIPS:
        write_clip(folder / name.replace(".", "-") / f"clip.{name.rpartition('.')[2]}", codec, options)


def write_clip(path: Path, codec: str, options: dict[str, str] | None = None, *, frames: int = 4) -> None:
    """A clip of 32 by 32 pixels with a moving square; by its brightness, clips of other names differ."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact", **(options or {})}) as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", "g": "2"})
        stream.width = stream.height = 32
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        for number in range(frames):
            picture = np.full((32, 32, 3), 40, dtype=np.uint8)
            picture[4 * number : 4 * number + 8, 8:24] = 100 + zlib.crc32(path.name.encode()) % 128
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode(None))


def _features(rows: int = 5) -> dict[str, Any]:
    from ssvh_model.features import FeatureMeta

    return {
        "features": np.random.default_rng(0).normal(size=(rows, 4, 6)),
        "ids": [f"video-{row}" for row in range(rows)],
        "labels": [("a", "b")[: 1 + row % 2] for row in range(rows)],
        "splits": ["train", "validation", "database", "query", "train"][:rows],
        "groups": [f"group-{row % 2}" for row in range(rows)],
        "meta": FeatureMeta("efficientnet_lite0", "00ff", 64),
        "frame_indices": np.tile(np.arange(4), (rows, 1)),
    }


def features(folder: Path) -> None:
    """A feature file, one of compressed features, one whose features are views on others, and one of a
    film.
    """
    from ssvh_model.features import FeatureMeta, write_feature_file
    from ssvh_model.joined import join_rows
    from ssvh_model.moments.film_features import FilmFacts, write_film_features

    write_feature_file(folder / "plain" / "features.h5", **_features())
    (folder / "compressed").mkdir()
    shutil.copy(folder / "plain" / "features.h5", folder / "compressed")
    with h5py.File(folder / "compressed" / "features.h5", "r+") as file:
        values = file["features"][:]
        del file["features"]
        file.create_dataset(
            "features", data=values, chunks=(2, 4, 6), compression="gzip", shuffle=True, fletcher32=True
        )
    (folder / "joined").mkdir()
    shutil.copy(folder / "plain" / "features.h5", folder / "joined")
    with h5py.File(folder / "joined" / "features.h5", "r+") as file:
        values = file["features"][:]
        del file["features"]
        for name, rows in (("one.h5", values[:3]), ("two.h5", values[3:])):
            with h5py.File(folder / "joined" / name, "w") as shard:
                shard["features"] = rows
        join_rows(
            file,
            "features",
            [("one.h5", 3), ("two.h5", 2)],
            size=(4, 6),
            dtype=np.dtype(np.float16),
            fill=np.nan,
        )

    frames = np.random.default_rng(1).normal(size=(10, 6)).astype(np.float16)
    spans = np.array([[0.0, 1.0], [0.5, 1.5], [1.0, 2.0], [1.5, 2.5]])
    facts = FilmFacts("film", "00", FeatureMeta("efficientnet_lite0", "00ff", 64), 4, 0.25, 2.5, spans)
    write_film_features(folder / "film" / "features.h5", [frames[:7], frames[7:]], lambda: facts)


def other_features(folder: Path) -> None:
    """Feature files of the form that others' trainings use."""
    rows = 5
    for name, labels in (("numbers", np.arange(rows)), ("texts", np.array([b"a", b"b", b"c", b"a", b"b"]))):
        (folder / name).mkdir(parents=True)
        with h5py.File(folder / name / "other.h5", "w") as file:
            file["features"] = _features()["features"].astype(np.float32)
            file["labels"] = labels
            file["is_query"] = np.array([0, 0, 1, 0, 1], dtype=bool)
            file["groups"] = np.arange(rows)


def published(folder: Path) -> None:
    """Published feature files with their labels."""
    from tests.published_files import write_published

    write_published(folder / DATASET, DATASET, videos=VIDEOS)
    for path in (folder / DATASET).glob("*.mat"):
        path.unlink()
        _write_mat_73(path)


def mats(folder: Path) -> None:
    """Labels as MATLAB writes them: dense, sparse, compressed, and version 7.3, which is HDF5."""
    from scipy import io, sparse

    table = np.eye(3, dtype=np.uint8)[np.arange(VIDEOS) % 3]
    for name in ("dense", "sparse", "compressed", "version-4", "hdf5"):
        (folder / name).mkdir(parents=True)
    io.savemat(folder / "dense" / "labels.mat", {CLASSES_KEY: table})
    io.savemat(folder / "compressed" / "labels.mat", {CLASSES_KEY: table}, do_compression=True)
    io.savemat(folder / "sparse" / "labels.mat", {CLASSES_KEY: sparse.csc_array(table.astype(float))})
    io.savemat(folder / "version-4" / "labels.mat", {CLASSES_KEY: table.astype(float)}, format="4")
    for path in folder.rglob("labels.mat"):
        if path.read_bytes().startswith(b"MATLAB 5.0"):  # and then the time of day
            with open(path, "r+b") as raw:
                raw.write(b"MATLAB 5.0 MAT-file".ljust(116))
    _write_mat_73(folder / "hdf5" / "labels.mat")


def _write_mat_73(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file[CLASSES_KEY] = np.eye(3, dtype=np.uint8)[:, np.arange(VIDEOS) % 3]
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def hashers(folder: Path) -> None:
    """A hasher, and one whose codes were trained longer."""
    from ssvh_model.features import FeatureMeta
    from ssvh_model.model.hasher import HasherConfig, VideoHasher
    from ssvh_model.model.hasher_file import save_hasher

    write_hasher(folder / "plain")
    torch.manual_seed(2)
    longer = HasherConfig(6, 4, 8, 8, 1, 2, 2.0, 1.0, "votes", training_bits=16)
    save_hasher(folder / "longer", VideoHasher(longer), FeatureMeta("efficientnet_lite0", "00ff", 64))


def tiny_trainer() -> Any:
    """A trainer of the model that the states are of, with random features."""
    from ssvh_model.losses.objective import Objective
    from ssvh_model.model.autossvh import build_model
    from ssvh_model.training.frame_source import FrameSource
    from ssvh_model.training.trainer import Optimization, Trainer

    config = _model_config()
    made = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4, 6)).astype(np.float16))
    return Trainer(
        build_model(config.hasher, config.decoder, config.sampler, seed=1),
        FrameSource.from_tensor([f"video-{row}" for row in range(6)], made),
        objective=Objective(
            reconstruction=1.0, alpha=0.5, beta=0.2, temperature=0.5, tau_plus=0.1, negatives="all"
        ),
        optimization=Optimization(
            batch_size=4,
            learning_rate=1e-3,
            learning_rate_floor=1e-6,
            step_epochs=2,
            step_factor=0.9,
            feature_dropout=0.1,
            code_noise=0.1,
            reversal=1.0,
            reversal_ramp=2,
            precision="float32",
        ),
        seed=1,
        device=torch.device("cpu"),
    )


def _model_config() -> Any:
    from ssvh_model.model.autossvh import DecoderConfig
    from ssvh_model.model.hasher import HasherConfig
    from ssvh_model.model.sampler import SamplerConfig
    from ssvh_model.training.checkpoint import ModelConfig

    return ModelConfig(
        HasherConfig(6, 4, 8, 6, 1, 2, 1.0, 1.0, "values", training_bits=16),
        DecoderConfig(width=6, layers=1, heads=2),
        SamplerConfig(kind="adversarial", mask_ratio=0.5, gumbel=1.0, noise=0.1, temperature=1.0),
    )


def states(folder: Path) -> None:
    """A checkpoint of the warm-up, and one of a round, which has clusters."""
    from ssvh_model.training.checkpoint import CheckpointFolder

    for name, with_clusters in (("warmup", False), ("round", True)):
        trainer = tiny_trainer()
        if with_clusters:
            trainer.granularities = _granularities(16)
        losses = trainer.train_epoch()
        history = [{"epoch": 1, "phase": "warmup", **losses}]
        CheckpointFolder(folder / name).save(trainer, _model_config(), history)


def _granularities(bits: int) -> Any:
    from ssvh_model.clustering.anchors import make_anchors

    generator = torch.Generator().manual_seed(1)
    return make_anchors(
        torch.randn(6, bits, generator=generator),
        [2, 3],
        iterations=2,
        restarts=1,
        points_per_centroid=3,
        mean_concentration=0.2,
        centres="voting",
        seed=1,
    )


def anchors(folder: Path) -> None:
    """The clusters of a round."""
    from ssvh_model.clustering.anchors import save_anchors

    save_anchors(folder / "two" / "anchors.safetensors", _granularities(16))


def _coded(hasher: Path, first: int, rows: int) -> Any:
    from ssvh_model.index.coded_videos import CodedVideos, HasherIdentity, whole_spans
    from ssvh_model.model.hasher_file import hasher_digest

    codes = np.random.default_rng(first).integers(0, 256, size=(rows, 2), dtype=np.uint8)
    names = [f"video-{row}" for row in range(first, first + rows)]
    durations = np.ones(rows, dtype=np.float32)
    return CodedVideos(
        ids=names,
        codes=codes,
        labels=["a"] * rows,
        paths=[f"{name}.mp4" for name in names],
        durations=durations,
        spans=whole_spans(durations),
        bits=16,
        hasher=HasherIdentity("video-hasher", "3", hasher_digest(hasher)),
        source="features.h5",
    )


def indexes(folder: Path) -> None:
    """An index as it was made, one that was changed since, and one with cells."""
    from ssvh_model.index.index_folder import IndexFolder, IndexSettings

    hasher = write_hasher(folder.parent / "index-hasher")
    for name, exact_up_to in (("exact", 1000), ("changed", 1000), ("cells", 4)):
        index = IndexFolder(folder / name)
        settings = IndexSettings(exact_up_to, cells=3, probes=2)
        with index.alone():
            index.replace(_coded(hasher, 0, 12), hasher, settings, seed=1, removed=("gone",))
            if name != "exact":
                index.add(_coded(hasher, 100, 3))
                index.remove(["video-2", "video-101"])
        (folder / name / "lock").unlink(missing_ok=True)


def codes(folder: Path) -> None:
    """A codes file."""
    from ssvh_model.index.coded_videos import write_coded_videos

    hasher = write_hasher(folder.parent / "codes-hasher")
    write_coded_videos(folder / "plain" / "codes.h5", _coded(hasher, 0, 5))


def manifests(folder: Path) -> None:
    """A manifest with every kind of line."""
    from ssvh_model.manifest import Video, write_manifest

    listed = [
        Video("a/1", "a/1.mp4", ("a",), ("a1", "a2"), "g1", "train", 20, 0.8, sha256="00" * 32),
        Video(
            "a/2",
            "a/2.mp4",
            ("a", "b"),
            (),
            "g1",
            "query",
            20,
            0.8,
            bad_frames={3: "static", 4: "static", 9: "black"},
        ),
        Video("b/3", "b/3.mp4").left_out("empty: the file has no bytes"),
        Video('b, "4"', "b/4 ü.mp4", ("c",), split="database", frames=7, duration=12.345, reason="a remark"),
    ]
    write_manifest(folder / "plain" / "manifest.csv", listed)


def labels(folder: Path) -> None:
    """A folder of videos with a table of labels."""
    place = folder / "plain"
    for name in ("a.mp4", "sub/b.mp4"):
        write_clip(place / name, "mpeg4", frames=1)
    (place / "empty.mp4").touch()
    (place / "labels.csv").write_text(
        f"{','.join(CSV_COLUMNS)}\na.mp4,x|y,fine,g1,train\nsub/b.mp4,y,,g2,query\nempty,z,,,\nlost.mp4,z,,,\n"
    )


def params(folder: Path) -> None:
    """The project's params.yaml, as it is, and without its comments."""
    for name, text in (("whole", _params_text()), ("short", _short_params())):
        (folder / name).mkdir(parents=True)
        (folder / name / "params.yaml").write_text(text)


def _params_text() -> str:
    return (REPOSITORY / "params.yaml").read_text()


def _short_params(**changes: Any) -> str:
    from tasks.params.reading import read_yaml

    content = {**read_yaml(REPOSITORY / "params.yaml"), **changes}
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in content.items()) + "\n"


def presets(folder: Path) -> None:
    """Each preset of the project beside a params.yaml."""
    for preset in sorted((REPOSITORY / "presets").glob("*.yaml")):
        place = folder / preset.stem
        (place / "presets").mkdir(parents=True)
        shutil.copy(preset, place / "presets")
        # So that the numbers of clusters fit any number of videos.
        text = _short_params().replace('"source": "arcade"', '"source": "folder"')
        (place / "params.yaml").write_text(text)


def journals(folder: Path) -> None:
    """A journal as a killed process leaves it behind."""
    from tasks.records.journal import Journal

    entries: list[dict[str, Any]] = [
        {"run": RUN, "metrics": [["loss", 0.5, 1700000000000, 0], ["gmap", 0.25, 1700000000000, 0]]},
        {"run": RUN, "metrics": [["loss", 0.4, 1700000001000, 1]]},
        {"run": RUN, "tags": {"ssvh.stage": "warmup", "mlflow.note.content": "a note"}},
        {"run": RUN, "status": "FINISHED", "end_time": 1700000002000, "final": True},
    ]
    assert all(hasattr(Journal, name) for name in ("metrics", "tags", "status"))
    place = folder / "plain" / ".unsent"
    place.mkdir(parents=True)
    lines = [json.dumps(entry) for entry in entries]
    (place / f"{RUN}-123-456.jsonl").write_text("\n".join(lines) + "\n" + lines[0][:20])


SEEDS: dict[str, Callable[[Path], None]] = {
    "video": videos,
    "features": features,
    "other features": other_features,
    "published": published,
    "mat": mats,
    "hasher": hashers,
    "state": states,
    "anchors": anchors,
    "index": indexes,
    "codes": codes,
    "manifest": manifests,
    "labels": labels,
    "params": params,
    "preset": presets,
    "journal": journals,
}
