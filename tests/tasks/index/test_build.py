"""The index of a project: made from stored features, changed by single videos, and taken over by the next
champion.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import s3fs
import torch

import tasks.index.build
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
from ssvh_model.index import snapshot
from ssvh_model.index.coded_videos import CodesFile, write_coded_videos
from ssvh_model.index.index import open_index
from ssvh_model.index.index_folder import IndexFolder
from ssvh_model.index.searcher import Searcher
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.manifest import Video, write_manifest
from ssvh_model.progress import Progress, no_progress
from ssvh_model.scratch import scratch_folder
from ssvh_model.video.encoding import write_video
from tasks import paths
from tasks.index.build import Addition, add_videos, build_index, remove_videos
from tasks.index.encode import encode_features
from tasks.index.given_videos import EncodedVideos, encode_videos, find_given_videos
from tasks.index.refresh import refresh_index
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.registry.find_hasher import find_hasher, hasher_of_index
from tests.conftest import REPOSITORY
from tests.hashers import register_hasher
from tests.index_places import in_both
from tests.services import Service, asked_s3

SIZE, FRAMES = 64, 4


@pytest.fixture(scope="session")
def meta() -> FeatureMeta:
    from ssvh_model.video.backbones import load_backbone

    backbone = load_backbone("efficientnet_lite0", size=SIZE, device=torch.device("cpu"))
    return FeatureMeta(backbone.name, backbone.weights_sha256, SIZE)


@pytest.fixture
def params(project: Path) -> Params:
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("workers: 0  ", "workers: 1  "), encoding="utf-8")
    return load_params()


@pytest.fixture
def registry(params: Params, empty_mlflow: Path, meta: FeatureMeta) -> Any:
    """Two versions; the first is the champion."""
    from mlflow import MlflowClient

    shutil.copy(empty_mlflow, "mlflow.db")
    client = MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")
    for _ in range(2):
        register_hasher(
            client, Path.cwd() / "artifacts", bits=32, frames=FRAMES, feature_size=1280, meta=meta
        )
    client.set_registered_model_alias("video-hasher", "champion", "1")
    return client


def silent(_: str) -> Progress:
    return no_progress


def write_features(meta: FeatureMeta, names: str, path: Path = paths.FEATURE_FILE) -> FeatureFile:
    """A video for each letter, its features drawn by the letter."""
    features = [np.random.default_rng(ord(name)).normal(size=(FRAMES, 1280)) for name in names]
    write_feature_file(
        path,
        np.stack(features),
        ids=list(names),
        labels=[(f"label {name}",) for name in names],
        splits=["train"] * len(names),
        meta=meta,
    )
    return FeatureFile(path)


def clip(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8), 16, 1), 16, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, rate=Fraction(8), quality=20)
    return path


def codes_by_id(place: str | Path = paths.INDEX) -> dict[str, bytes]:
    whole = open_index(place).snapshot(loaded=True).whole()
    return {video: code.tobytes() for video, code in zip(whole.ids, whole.codes, strict=True)}


@pytest.fixture
def indexed(registry: Any, params: Params, meta: FeatureMeta, place: str) -> Callable[[], None]:
    """An index of five videos, one of them taken out and one added as a file."""

    def make() -> None:
        write_features(meta, "abcde")
        build_index(place, paths.FEATURE_FILE, params, hasher=None, say=print, progress=silent)
        remove_videos(place, ["b"], params, say=print)
        add_videos(
            place,
            [clip(Path("new/x.mp4"), 1)],
            params,
            hasher="champion",
            label="own",
            say=print,
            progress=silent,
        )

    return make


def test_a_refresh_from_another_folder_keeps_what_is_known_of_the_videos(
    registry: Any, params: Params, meta: FeatureMeta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_features(meta, "abc")
    write_manifest(paths.FEATURES_MANIFEST, [Video(name, f"{name}.mp4", duration=2.0) for name in "abc"])
    build_index(paths.INDEX, paths.FEATURE_FILE, params, hasher=None, say=print, progress=silent)
    before = open_snapshot(paths.INDEX).whole()
    assert all(before.paths)
    project = Path.cwd()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    refresh_index(params, hasher="2", place=project / paths.INDEX, say=print, progress=silent)
    after = open_snapshot(project / paths.INDEX).whole()
    assert after.hasher != before.hasher
    assert (after.ids, after.paths) == (before.ids, before.paths)
    np.testing.assert_array_equal(after.spans, before.spans)


@in_both
def test_a_new_champion_takes_over_all_videos_at_once(
    indexed: Callable[[], None],
    registry: Any,
    params: Params,
    meta: FeatureMeta,
    place: str,
) -> None:
    indexed()
    before, searcher = codes_by_id(place), Searcher(place)
    assert sorted(before) == ["a", "c", "d", "e", "x"]
    assert searcher.nearest("new/x.mp4", 1)[0].distance == 0
    lines: list[str] = []
    assert not refresh_index(params, say=lines.append, progress=silent), "its codes are the champion's"

    registry.set_registered_model_alias("video-hasher", "champion", "2")
    write_features(meta, "abcdef")  # f came into the corpus since
    assert refresh_index(params, say=lines.append, progress=silent)
    assert lines == [f"{open_index(place).name}: 6 videos now have codes by video-hasher version 2"]
    second = find_hasher("2", model="video-hasher")
    expected = encode_features(FeatureFile(paths.FEATURE_FILE), second, params, progress=no_progress)
    after = codes_by_id(place)
    assert sorted(after) == ["a", "c", "d", "e", "f", "x"], "b was taken out and stays out"
    for video, code in zip(expected.ids, expected.codes, strict=True):
        assert video == "b" or after[video] == code.tobytes()
    hits = searcher.nearest("new/x.mp4", 6)
    assert (hits[0].id, hits[0].distance, hits[0].label) == ("x", 0, "own")
    assert {hit.id: hit.label for hit in hits}["f"] == "label f"
    assert searcher.hasher.version == "2"
    assert not refresh_index(params, say=lines.append, progress=silent)


def test_a_video_without_stored_features_is_decoded_again_or_left_out(
    indexed: Callable[[], None], registry: Any, params: Params
) -> None:
    indexed()
    shutil.rmtree("index/added")
    registry.set_registered_model_alias("video-hasher", "champion", "2")
    assert refresh_index(params, say=print, progress=silent)
    assert Searcher().nearest("new/x.mp4", 1)[0].distance == 0
    assert Searcher().nearest("new/x.mp4", 1, rerank="features")[0].likeness == pytest.approx(1, abs=1e-2), (
        "what was decoded again is kept"
    )
    shutil.rmtree("index/added")
    Path("new/x.mp4").unlink()
    registry.set_registered_model_alias("video-hasher", "champion", "1")
    lines: list[str] = []
    assert refresh_index(params, say=lines.append, progress=silent)
    assert (
        lines[0]
        == "left out of the index, 1 video without stored features: x (missing: there is no such file)"
    )
    assert sorted(codes_by_id()) == ["a", "c", "d", "e"]


@pytest.fixture
def s3(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A server whose bucket has the clips b, c and d, and e, which is none, in sub-folders."""
    with asked_s3(project, monkeypatch) as server:
        store = boto3.client("s3")
        for number, name in enumerate("bcd"):
            file = clip(Path(f"here/{name}.mp4"), number)
            store.put_object(Bucket="corpus", Key=f"films/{name}/{name}.mp4", Body=file.read_bytes())
        store.put_object(Bucket="corpus", Key="films/e/e.mp4", Body=b"no video")
        yield server


@pytest.mark.slow
def test_videos_of_a_bucket_without_stored_features_are_fetched_for_the_next_champion(
    registry: Any, params: Params, meta: FeatureMeta, s3: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = {"corpus.source": "folder", "corpus.path": "s3://corpus/films/"}
    params = with_changes(params, bucket, where="test")
    write_features(meta, "abcdef")
    write_manifest(
        paths.FEATURES_MANIFEST, [Video(name, f"{name}/{name}.mp4", duration=1.0) for name in "abcdef"]
    )
    build_index(paths.INDEX, paths.FEATURE_FILE, params, hasher=None, say=print, progress=silent)
    assert open_snapshot(paths.INDEX).whole().paths[1] == "s3://corpus/films/b/b.mp4"
    before = codes_by_id()

    registry.set_registered_model_alias("video-hasher", "champion", "2")
    write_features(meta, "a")  # the others are not in the corpus any more
    address = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # a port that nothing listens to
    with pytest.raises(UserError, match=r"s3://corpus/films/b/b\.mp4: can't be fetched"):
        refresh_index(params, say=print, progress=silent)
    assert codes_by_id() == before, "a storage that is away for a while takes no video out"

    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    s3fs.S3FileSystem.clear_instance_cache()
    # c is elsewhere than the corpus is by now.
    params = with_changes(params, {"corpus.path": "s3://corpus/films/d"}, where="test")
    lines: list[str] = []
    assert refresh_index(params, say=lines.append, progress=silent)
    assert lines[0].startswith("left out of the index, 2 videos without stored features: e (not a video")
    assert lines[0].endswith(", f (missing: there is no such file)")
    after = codes_by_id()
    assert sorted(after) == ["a", "b", "c", "d"]
    source = find_hasher("2", model="video-hasher")
    videos = find_given_videos([Path("here")], params, label=None, progress=no_progress)
    local = encode_videos(videos, source, params, segments=None, progress=silent).coded
    assert {name: after[name] for name in "bcd"} == dict(
        zip(local.ids, (code.tobytes() for code in local.codes), strict=True)
    )
    whole = open_snapshot(paths.INDEX).whole()
    known = dict(zip(whole.ids, whole.paths, strict=True))
    assert all(known[name] == f"s3://corpus/films/{name}/{name}.mp4" for name in "bcd")
    assert sorted(
        video for path in open_index(paths.INDEX).kept_features() for video in FeatureFile(path).ids
    ) == [*"bcd"]
    assert not [path for path in scratch_folder().rglob("*") if path.is_file()], "copies are not kept"


@in_both
def test_a_refresh_that_fails_leaves_the_index_as_it_was(
    indexed: Callable[[], None],
    registry: Any,
    params: Params,
    place: str,
) -> None:
    indexed()
    before = codes_by_id(place)
    registry.set_registered_model_alias("video-hasher", "champion", "2")
    paths.FEATURE_FILE.unlink()
    with pytest.raises(UserError, match="no such feature file"):
        refresh_index(params, say=print, progress=silent)
    assert codes_by_id(place) == before and Searcher(place).hasher.version == "1"


@in_both
def test_another_hasher_than_the_indexs_is_refused(
    indexed: Callable[[], None],
    params: Params,
    place: str,
) -> None:
    indexed()
    with pytest.raises(
        UserError, match=r"its codes are by video-hasher version 1 .*, not by video-hasher version 2"
    ):
        add_videos(
            place,
            [clip(Path("new/y.mp4"), 2)],
            params,
            hasher="2",
            label=None,
            say=print,
            progress=silent,
        )


@in_both
def test_what_was_added_from_the_same_file_is_there_and_another_of_its_name_is_refused(
    indexed: Callable[[], None],
    params: Params,
    place: str,
) -> None:
    indexed()
    before = codes_by_id(place)

    def add(*places: str, label: str = "own") -> Addition:
        return add_videos(
            place, list(map(Path, places)), params, hasher=None, label=label, say=print, progress=silent
        )

    assert add("new/x.mp4") == Addition([], ["x"], [])
    Path("new/undecodable.mp4").write_bytes(b"no video")
    again = add("new/x.mp4", "new/undecodable.mp4")
    assert again.there == ["x"] and [video.id for video in again.left_out] == ["undecodable"]
    with pytest.raises(UserError, match="has a video 'x' already; `ssvh remove x` takes it out"):
        add("new/x.mp4", label="another")
    Path("elsewhere").mkdir()
    shutil.copy("new/x.mp4", "elsewhere/x.mp4")
    for other in (Path("elsewhere/x.mp4"), clip(Path("new/x.mp4"), 2)):
        with pytest.raises(UserError, match="has a video 'x' already; `ssvh remove x` takes it out"):
            add(str(other))
    assert codes_by_id(place) == before
    clip(Path("new/y.mp4"), 3)
    with pytest.raises(UserError, match="has a video 'a' already"):
        add(str(clip(Path("new/a.mp4"), 4)), "new/y.mp4")
    assert codes_by_id(place) == before, "all of a call's videos are added, or none"


@in_both
def test_films_of_one_name_in_several_folders_are_all_in_the_index(
    indexed: Callable[[], None],
    params: Params,
    place: str,
) -> None:
    indexed()

    def add(*places: str) -> Addition:
        return add_videos(
            place, list(map(Path, places)), params, hasher=None, label=None, say=print, progress=silent
        )

    films = {"night": "2022", "2023/night": "2023", "2024/night": "2024"}
    for number, year in enumerate(films.values()):
        clip(Path(year, "night.mp4"), 10 + number)
    assert add("2022").added == ["night"]
    assert add("2023", "2024") == Addition(["2023/night", "2024/night"], [], [])
    before = codes_by_id(place)
    assert add("2024", "2023", "2022") == Addition([], sorted(films), [])
    assert codes_by_id(place) == before
    searcher = Searcher(place)
    for video, year in films.items():
        hits = searcher.nearest(Path(year, "night.mp4"), len(before))
        assert video in [hit.id for hit in hits if hit.distance == 0]

    shutil.copytree("2022", "copies")
    with pytest.raises(UserError, match="has a video 'night' already"):
        add("copies")
    assert remove_videos(place, ["2023/night"], params, say=print) == ["2023/night"]
    assert add("2023").added == ["2023/night"]
    remove_videos(place, ["night"], params, say=print)
    assert add("2024").there == ["2024/night"], "though a shorter id is free"


def test_of_a_codes_file_s_videos_the_files_tell_whether_another_of_the_same_name_is_another(
    registry: Any, params: Params, place: str
) -> None:
    clip(Path("mine/night.mp4"), 1)
    videos = find_given_videos([Path("mine")], params, label=None, progress=no_progress)
    encoded = encode_videos(
        videos, find_hasher("1", model="video-hasher"), params, segments=None, progress=silent
    )
    write_coded_videos(Path("codes.h5"), encoded.coded)
    build_index(place, Path("codes.h5"), params, hasher="1", say=print, progress=silent)

    def add(path: str) -> Addition:
        return add_videos(place, [Path(path)], params, hasher=None, label=None, say=print, progress=silent)

    assert add(str(clip(Path("other/night.mp4"), 2))).added == ["other/night"]
    shutil.copytree("mine", "copies")
    with pytest.raises(UserError, match="has a video 'night' already"):
        add("copies")
    shutil.rmtree("mine")
    with pytest.raises(UserError, match="has a video 'night' already"):
        add(str(clip(Path("third/night.mp4"), 3)))


def test_an_index_that_is_switched_while_videos_are_encoded_gets_them_by_its_new_hasher(
    indexed: Callable[[], None], registry: Any, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed()
    encode = tasks.index.build.encode_videos

    def then_switched(*arguments: Any, **more: Any) -> EncodedVideos:
        encoded = encode(*arguments, **more)
        if open_snapshot(paths.INDEX).hasher.version == "1":
            assert refresh_index(params, hasher="2", say=print, progress=silent)
        return encoded

    monkeypatch.setattr(tasks.index.build, "encode_videos", then_switched)
    y = clip(Path("new/y.mp4"), 2)
    done = add_videos(paths.INDEX, [y], params, hasher=None, label=None, say=print, progress=silent)
    assert done.added == ["y"]
    searcher = Searcher()
    assert searcher.hasher.version == "2"
    assert {hit.id: hit.distance for hit in searcher.nearest(y, 6)}["y"] == 0
    assert not (paths.WORK / "encode").exists() or not list((paths.WORK / "encode").iterdir())


def test_the_hasher_of_an_index_that_is_switched_meanwhile_is_that_of_one_version(
    indexed: Callable[[], None], params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed()
    digest = snapshot.hasher_digest

    def switched_before(folder: Path) -> str:
        if open_snapshot(paths.INDEX).hasher.version == "1":
            assert refresh_index(params, hasher="2", say=print, progress=silent)
        return digest(folder)

    monkeypatch.setattr(snapshot, "hasher_digest", switched_before)
    source = hasher_of_index(IndexFolder(paths.INDEX))
    assert source.version == "2"
    assert refresh_index(params, hasher="1", say=print, progress=silent)
    assert source.load()[0].config.bits == 32, "its files are gone by now"


def test_what_was_removed_before_stays_out_and_what_never_was_there_is_refused(
    indexed: Callable[[], None], params: Params
) -> None:
    indexed()
    assert remove_videos(paths.INDEX, ["b"], params, say=print) == []
    assert remove_videos(paths.INDEX, ["x", "b", "x"], params, say=print) == ["x"]
    assert remove_videos(paths.INDEX, ["x"], params, say=print) == [], "one that was added, too"
    with pytest.raises(UserError, match="has no video 'z'"):
        remove_videos(paths.INDEX, ["a", "z"], params, say=print)
    assert sorted(codes_by_id()) == ["a", "c", "d", "e"]
    assert sorted(open_snapshot(paths.INDEX).removed_ids()) == ["b", "x"]


def test_videos_of_a_folder_are_encoded_as_the_index_would(
    registry: Any, params: Params, tmp_path: Path
) -> None:
    for number, name in enumerate(("cats/one", "cats/two", "dogs/one")):
        clip(Path(f"mine/{name}.mp4"), number)
    Path("mine/dogs/broken.mp4").write_bytes(b"no video")
    champion = find_hasher("champion", model="video-hasher")
    videos = find_given_videos([Path("mine")], params, label=None, progress=no_progress)
    encoded = encode_videos(videos, champion, params, segments=None, progress=silent)
    assert [video.id for video in encoded.left_out] == ["dogs/broken"]
    assert encoded.coded.ids == ["cats/one", "cats/two", "dogs/one"]
    assert encoded.coded.labels == ["cats", "cats", "dogs"]
    assert encoded.coded.paths[0] == "mine/cats/one.mp4" and encoded.coded.durations[0] == 1.0
    write_coded_videos(Path("codes.h5"), encoded.coded)
    build_index(paths.INDEX, Path("codes.h5"), params, hasher=None, say=print, progress=silent)
    distances = {hit.id: hit.distance for hit in Searcher().nearest("mine/cats/two.mp4", 3)}
    assert distances["cats/two"] == 0 and len(distances) == 3

    shutil.copytree(champion.folder, "changed")
    shutil.copy(find_hasher("2", model="video-hasher").folder / "hasher.safetensors", "changed")
    with pytest.raises(UserError, match="its codes are by video-hasher version 1"):
        build_index(paths.INDEX, Path("codes.h5"), params, hasher="./changed", say=print, progress=silent)
    assert CodesFile(Path("codes.h5")).hasher.version == "1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 96}, "its features were made with efficientnet_lite0, 96 pixels"),
        ({"weights_sha256": "00"}, "weights"),
        ({"engine": "openvino"}, "openvino in float32; video-hasher version 1 .* torch in float32"),
        ({"precision": "bfloat16"}, "torch in bfloat16; video-hasher version 1 .* torch in float32"),
    ],
)
def test_features_of_another_backbone_are_refused(
    registry: Any, params: Params, meta: FeatureMeta, change: dict[str, Any], message: str
) -> None:
    file = write_features(FeatureMeta(**{**vars(meta), **change}), "ab")
    with pytest.raises(UserError, match=message):
        encode_features(file, find_hasher("champion", model="video-hasher"), params, progress=no_progress)


def test_the_hasher_s_model_card_goes_with_the_index(
    registry: Any, params: Params, indexed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.update_model_version("video-hasher", "1", "# The first")

    def card() -> str:
        return snapshot.read_card(IndexFolder(paths.INDEX).hasher_folder())

    indexed()
    assert card() == "# The first"
    monkeypatch.setattr("ssvh_model.index.index_folder.CHANGES_AT_ONCE", 0)
    monkeypatch.setattr("ssvh_model.index.index_folder.CHANGES_SHARE", 0)
    before = snapshot.Pointer.read(paths.INDEX).generation
    remove_videos(paths.INDEX, ["a"], params, say=print)
    assert snapshot.Pointer.read(paths.INDEX).generation != before and card() == "# The first"

    registry.set_registered_model_alias("video-hasher", "champion", "2")
    assert refresh_index(params, say=print, progress=silent)
    assert card() == ""  # the second has none
