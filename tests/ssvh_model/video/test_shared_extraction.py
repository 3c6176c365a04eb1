"""Several processes at one extraction: every shard is made once, and one that a killed process was making is
made by another.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.manifest import Video
from ssvh_model.progress import no_progress
from ssvh_model.video import shards
from ssvh_model.video.extraction import Extraction
from ssvh_model.video.places import LocalPlace
from ssvh_model.video.shard_extraction import ExtractionSettings, ThreadExtractor
from ssvh_model.video.shards import Extracted, ShardProgress
from tests.conftest import REPOSITORY
from tests.ssvh_model.video.odd_videos import MeanColours, video_maker

VIDEOS = 12
SETTINGS = ExtractionSettings(frames=3, batch_size=4, thumbnail=24)

PROGRAM = """
import json, sys, time
from pathlib import Path
from ssvh_model.progress import no_progress
from ssvh_model.video import shards
from tests.ssvh_model.video.odd_videos import MeanColours
from tests.ssvh_model.video.test_shared_extraction import extraction, threads

class Slow(MeanColours):
    def features(self, planes):
        time.sleep(float(sys.argv[5]))
        return super().features(planes)

shards.SHARD_VIDEOS = 1
root, folder, name, others = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
Path(f"{folder}-{name}").touch()
while not all(Path(f"{folder}-{other}").exists() for other in others):
    time.sleep(0.01)
made = extraction(root, folder).make(threads(root, Slow()), progress=no_progress, wait=False)
print(json.dumps(made))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(VIDEOS):
        video_maker(folder)(f"{number}.mp4", frames=3 + number)
    (folder / "5.mp4").write_text("text")
    return folder


def extraction(root: Path, folder: Path) -> Extraction:
    videos = [Video(id=f"v{n}", path=f"{n}.mp4", split="train") for n in range(VIDEOS)]
    return Extraction(videos, root, MeanColours(), SETTINGS, folder=folder)


def threads(root: Path, backbone: MeanColours | None = None, workers: int = 1) -> ThreadExtractor:
    return ThreadExtractor(LocalPlace(root), backbone or MeanColours(), SETTINGS, workers)  # type: ignore[arg-type]


def start(root: Path, folder: Path, name: str, others: str, delay: float) -> subprocess.Popen[str]:
    """A process that begins when `others` are there, too, and takes `delay` seconds a batch."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(folder), name, others, str(delay)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_shard(folder: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 250
    while not list(folder.glob("shards/[0-9]*.h5")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.slow
def test_two_processes_share_the_shards_out_and_the_joined_file_copies_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_VIDEOS", 1)
    folder = tmp_path / "features"
    helpers = [start(root, folder, name, "ab", delay=0.05) for name in "ab"]
    made = [json.loads(helper.communicate(timeout=250)[0]) for helper in helpers]
    here = extraction(root, folder)
    made.append(here.make(threads(root), progress=no_progress, wait=True))
    assert sorted(number for numbers in made for number in numbers) == list(range(VIDEOS)), (
        "each was made once"
    )
    assert made[0] and made[1], "and by both"
    assert here.finished == len(here) == VIDEOS

    assert [video.usable for video in here.join()].count(True) == VIDEOS - 1
    with h5py.File(folder / "features.h5") as joined:
        assert joined["features"].is_virtual and len(joined["features"].virtual_sources()) == VIDEOS - 1
    time.sleep(1.1)  # HDF5 notes times by the second, if it is let
    alone = extraction(root, tmp_path / "alone")
    alone.make(threads(root, workers=2), progress=no_progress, wait=True)
    alone.join()
    shutil.move(folder, tmp_path / "elsewhere")
    for name in ("features.h5", "thumbnails.h5"):
        assert (tmp_path / "elsewhere" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    moved = FeatureFile(tmp_path / "elsewhere/features.h5")
    expected = FeatureFile(tmp_path / "alone/features.h5").read(range(VIDEOS - 1))
    np.testing.assert_array_equal(moved.read(range(VIDEOS - 1)), expected)
    assert np.isfinite(expected).all()

    (tmp_path / "elsewhere/shards/000003.h5").unlink()
    with pytest.raises(UserError, match=r"shards/000003\.h5, which is not there"):
        FeatureFile(tmp_path / "elsewhere/features.h5")


def test_the_shard_of_a_killed_process_is_made_by_who_waits_for_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_VIDEOS", 1)
    helper = start(root, tmp_path, "a", "", delay=2)
    wait_for_shard(tmp_path, helper)
    helper.send_signal(signal.SIGKILL)
    assert helper.wait() == -signal.SIGKILL
    survivors = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shards/[0-9]*.h5")}
    # As of a process that is killed between the shard's arrival and its own tidying up.
    (tmp_path / f"shards/.{min(survivors).name}.abc.tmp").mkdir()
    here = extraction(root, tmp_path)
    made = here.make(threads(root), progress=no_progress, wait=True)
    assert len(made) == VIDEOS - len(survivors)
    assert {path: path.stat().st_mtime_ns for path in survivors} == survivors
    assert not list(tmp_path.glob("shards/.*"))


class Backwards:
    """Takes three shards at a time and gives them back in the opposite order. `meanwhile` is called when it
    has them.
    """

    def __init__(self, threads: ThreadExtractor, meanwhile: Callable[[], object]) -> None:
        self._threads, self._meanwhile = threads, meanwhile

    def extract(
        self, shards: Iterable[tuple[int, Sequence[Video]]], progress: ShardProgress
    ) -> Generator[tuple[int, list[Extracted | str]]]:
        left = iter(shards)
        while some := list(itertools.islice(left, 3)):
            self._meanwhile()
            yield from self._threads.extract(reversed(some), progress)


def test_several_shards_at_a_time_in_any_order(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_VIDEOS", 1)
    here, beside = extraction(root, tmp_path / "here"), extraction(root, tmp_path / "here")
    taken: list[list[int]] = []

    def meanwhile() -> None:
        if not taken:
            taken.append(beside.make(threads(root), progress=no_progress, wait=False))

    counts: list[int] = []
    made = here.make(
        Backwards(threads(root), meanwhile), progress=lambda done, total: counts.append(done), wait=True
    )
    assert taken == [[*range(3, VIDEOS)]], "what is under way here is not made beside, all else is"
    assert made == [2, 1, 0] and counts[-1] == VIDEOS
    here.join()
    alone = extraction(root, tmp_path / "alone")
    alone.make(threads(root), progress=no_progress, wait=True)
    alone.join()
    for file in (tmp_path / "alone").rglob("*.h5"):
        assert (tmp_path / "here" / file.relative_to(tmp_path / "alone")).read_bytes() == file.read_bytes()


def test_a_million_videos_make_a_thousand_shards() -> None:
    videos = [Video(id=str(n), path=f"{n}.mp4") for n in range(70_001)]
    found = shards.shards_of(videos)
    assert len(found) <= shards.MOST_SHARDS
    assert [video for shard in found for video in shard] == videos
    assert len(shards.shards_of(videos[:129])) == 3
