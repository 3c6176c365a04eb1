from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.manifest import LEFT_OUT, OK, Video
from ssvh_model.progress import no_progress
from ssvh_model.video import shards
from ssvh_model.video.decoding import even_indices
from ssvh_model.video.extraction import Extraction, extract_features
from ssvh_model.video.places import LocalPlace
from ssvh_model.video.shard_extraction import ExtractionSettings, ThreadExtractor
from tests.ssvh_model.video.odd_videos import MeanColours, level, video_maker

HERE = Path(__file__).resolve().parent
FRAMES = 5


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos of 3 to 21 frames; number 4 is text, number 7 is not there."""
    folder = tmp_path_factory.mktemp("videos")
    make = video_maker(folder)
    for number in range(10):
        make(f"{number}.mp4", frames=3 + 2 * number)
    (folder / "4.mp4").write_text("text")
    (folder / "7.mp4").unlink()
    return folder


def manifest() -> list[Video]:
    videos = [
        Video(
            id=f"v{n}", path=f"{n}.mp4", labels=("even",) if n % 2 == 0 else (), split="train", group=f"g{n}"
        )
        for n in range(10)
    ]
    return [*videos[:2], Video(id="gone", path="gone.mp4").left_out("was never there"), *videos[2:]]


def extract(root: Path, folder: Path, **changes: object) -> list[Video]:
    arguments = dict(frames=FRAMES, batch_size=7, thumbnail=24, workers=2, progress=no_progress)
    return extract_features(manifest(), root, MeanColours(), folder=folder, **{**arguments, **changes})  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, object]:
    everything: dict[str, object] = {}
    for name in ("features.h5", "thumbnails.h5"):
        with h5py.File(folder / name) as file:
            everything[f"{name} attributes"] = dict(file.attrs)
            for key in file:
                values = file[key][:]
                everything[f"{name} {key}"] = [
                    v.tobytes() if hasattr(v, "tobytes") else v for v in values.ravel()
                ]
    return everything


def test_rows_hold_what_the_videos_show(root: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    videos = extract(root, tmp_path, progress=lambda done, total: seen.append((done, total)))

    assert [video.id for video in videos] == [video.id for video in manifest()]
    left_out = {video.id: video.reason for video in videos if video.status == LEFT_OUT}
    assert set(left_out) == {"gone", "v4", "v7"}
    assert left_out["gone"] == "was never there"
    assert "not a video" in left_out["v4"] and "missing" in left_out["v7"]
    good = [video for video in videos if video.status == OK]
    assert [video.frames for video in good] == [3, 5, 7, 9, 13, 15, 19, 21]
    assert "fewer than 5" in good[0].reason and all(not video.reason for video in good[1:])

    file = FeatureFile(tmp_path / "features.h5")
    assert file.ids == [video.id for video in good]
    assert file.groups == [video.group for video in good] and set(file.splits) == {"train"}
    assert file.labels == [video.labels for video in good]
    assert file.shape == (8, FRAMES, 3)
    features = file.read(range(8)).numpy()
    for row, video in enumerate(good):
        indices = even_indices(video.frames, FRAMES)
        assert file.frame_indices[row].tolist() == indices.tolist()
        shown = np.array([level(index) for index in indices])
        np.testing.assert_allclose(features[row].mean(axis=1), shown, atol=3)
    with h5py.File(tmp_path / "features.h5") as raw:
        assert raw["features"].dtype == np.float16
        assert dict(raw.attrs) == {
            "backbone": "mean colours",
            "weights_sha256": "0" * 64,
            "size": 32,
            "engine": "torch",
            "precision": "float32",
            "frames": FRAMES,
            "sampling": "even",
        }
    with h5py.File(tmp_path / "thumbnails.h5") as raw:
        assert [name.decode() for name in raw["ids"][:]] == file.ids
        for row, video in enumerate(good):
            for place, index in enumerate(even_indices(video.frames, FRAMES)):
                picture = Image.open(io.BytesIO(raw["thumbnails"][row, place].tobytes()))
                assert picture.size == (24, 18)
                assert abs(np.asarray(picture).mean() - level(index)) < 4
    assert seen[-1] == (10, 10) and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_threads_and_shards_do_not_change_a_byte(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    extract(root, tmp_path / "a", workers=1)
    torch.set_num_threads(3)
    extract(root, tmp_path / "b", workers=4)
    with ThreadPoolExecutor(1) as pool:  # the main thread's number never changed; that of new threads did
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    torch.set_num_threads(threads)
    monkeypatch.setattr(shards, "SHARD_VIDEOS", 3)
    extract(root, tmp_path / "c")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == contents(tmp_path / "c")


class Interrupted(Exception):
    pass


def test_it_goes_on_where_it_was_interrupted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_VIDEOS", 3)
    expected = extract(root, tmp_path / "undisturbed")

    def stop(done: int, total: int) -> None:
        if done == 8:
            raise Interrupted

    with pytest.raises(Interrupted):
        extract(root, tmp_path / "again", progress=stop)
    assert not (tmp_path / "again" / "features.h5").exists()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "again" / "shards").iterdir()}
    assert len(finished) == 2
    (tmp_path / "again" / "shards" / ".000002.h5.123.tmp").mkdir()
    (tmp_path / "again" / "shards" / ".000002.h5.123.tmp/000002.h5").write_bytes(b"half")
    assert extract(root, tmp_path / "again") == expected
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list((tmp_path / "again").rglob("*.tmp"))
    assert contents(tmp_path / "again") == contents(tmp_path / "undisturbed")


def test_finished_parts_of_other_settings_are_made_again(root: Path, tmp_path: Path) -> None:
    extract(root, tmp_path / "one", frames=4)
    extract(root, tmp_path / "one")
    extract(root, tmp_path / "other")
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from tests.ssvh_model.video.odd_videos import MeanColours
from test_extraction import manifest
from ssvh_model.video import shards
from ssvh_model.video.extraction import extract_features

class Slow(MeanColours):
    def features(self, planes):
        time.sleep({delay})
        return super().features(planes)

shards.SHARD_VIDEOS = 2
extract_features(manifest(), Path({root!r}), Slow(), frames=5, batch_size=7, thumbnail=24, folder=Path({folder!r}),
                 workers=2, progress=lambda done, total: None)
"""


@pytest.mark.slow
def test_a_killed_process_is_continued_with_the_same_result(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = PROGRAM.format(here=str(HERE), root=str(root), folder=str(tmp_path / "killed"), delay=1)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment)
    parts = tmp_path / "killed" / "shards"
    deadline = time.monotonic() + 250
    while len(list(parts.glob("[0-9]*.h5"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    survivors = {path: path.stat().st_mtime_ns for path in parts.glob("[0-9]*.h5")}
    assert 2 <= len(survivors) < 5 and not (tmp_path / "killed" / "features.h5").exists()

    monkeypatch.setattr(shards, "SHARD_VIDEOS", 2)
    resumed = extract(root, tmp_path / "killed")
    assert {path: path.stat().st_mtime_ns for path in survivors} == survivors
    assert resumed == extract(root, tmp_path / "undisturbed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_shards_of_unlike_engines_are_never_joined(root: Path, tmp_path: Path) -> None:
    class Other(MeanColours):
        engine = "openvino"

    settings = ExtractionSettings(frames=FRAMES, batch_size=7, thumbnail=24)

    def made(backbone: MeanColours) -> Extraction:
        extraction = Extraction(manifest(), root, backbone, settings, folder=tmp_path)
        threads = ThreadExtractor(LocalPlace(root), backbone, settings, workers=2)  # type: ignore[arg-type]
        extraction.make(threads, progress=no_progress, wait=True)
        return extraction

    one, other = made(MeanColours()), made(Other())
    with pytest.raises(
        UserError, match=r"not made with mean colours, .* torch in float32; .*features\.engine"
    ):
        one.join()
    other.join()
    assert FeatureFile(tmp_path / "features.h5").meta.engine == "openvino"


def test_nothing_readable_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not one of 10 videos can be read; the first is 0\.mp4: missing"):
        extract(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="not one usable video"):
        extract_features(
            [Video(id="a", path="a.mp4").left_out("x")],
            tmp_path,
            MeanColours(),
            frames=2,
            batch_size=2,
            thumbnail=8,
            folder=tmp_path,
            workers=1,
            progress=no_progress,
        )


@pytest.mark.parametrize("name", ["frames", "batch_size", "thumbnail", "workers"])
def test_impossible_settings_are_named(root: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"(features|running)\.{name}: 0"):
        extract(root, tmp_path, **{name: 0})


def test_values_beyond_float16_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeanColours, "features", lambda self, planes: planes.mean((2, 3)) * 1e6)
    with pytest.raises(UserError, match="float16"):
        extract(root, tmp_path)
