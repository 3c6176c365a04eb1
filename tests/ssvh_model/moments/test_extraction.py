"""Films become feature files as a stream, beside features of each segment that is decoded by itself."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch import Tensor

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video
from ssvh_model.moments.extraction import extract_films
from ssvh_model.moments.film_features import FilmFile, is_film_file
from ssvh_model.moments.segments import EvenSegments, Segments
from ssvh_model.moments.shots import STEP, Shots
from ssvh_model.progress import no_progress
from ssvh_model.video.decoding import sample_frames
from ssvh_model.video.encoding import write_video
from tests.ssvh_model.video.odd_videos import MakeVideo, MeanColours

SEGMENTS, FRAMES = EvenSegments(1.0, 0.5), 5


def extract(
    folder: Path,
    names: dict[str, float],
    workers: int = 2,
    segments: Segments = SEGMENTS,
    address: str = "",
) -> tuple[list[Path], list[Video]]:
    videos = [
        Video(name, f"{name}.mp4", duration=seconds, sha256="" if address else name)
        for name, seconds in names.items()
    ]
    films, left_out = extract_films(
        videos,
        address or folder,
        MeanColours(),
        segments,
        frames=FRAMES,
        batch_size=7,
        folder=folder / "work",
        workers=workers,
        progress=no_progress,
    )
    return [film.path for film in films], left_out


def test_films_at_an_address_give_what_they_give_here(make_video: MakeVideo, tmp_path: Path) -> None:
    make_video("films/long.mp4", 130)
    names = {"films/long": 5.2, "films/gone": 5.2}
    (here,), _ = extract(tmp_path, names)
    (fetched,), (gone,) = extract(tmp_path, names, address=f"file://{tmp_path}")
    one, two = FilmFile(here), FilmFile(fetched)
    assert fetched != here and np.array_equal(one.read(0, len(one)), two.read(0, len(two)))
    assert np.array_equal(one.facts.spans, two.facts.spans)
    assert gone.reason == "missing: there is no such file"


def test_each_frame_is_decoded_once_and_shared_by_segments(make_video: MakeVideo, tmp_path: Path) -> None:
    make_video("long.mp4", 130)
    (path,), left_out = extract(tmp_path, {"long": 5.2})
    file = FilmFile(path)
    assert not left_out and is_film_file(path)
    assert len(file) == 26 and file.facts.step == pytest.approx(0.2) and file.facts.id == "long"
    assert file.facts.spans[:, 0].tolist() == pytest.approx(
        [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.2, 3.6, 4.0, 4.2]
    )
    backbone, frames = MeanColours(), sample_frames(tmp_path / "long.mp4", 130).frames
    found = file.segments(np.arange(12))
    for number, (start, end) in enumerate(file.facts.spans.tolist()):
        times = start + (np.arange(FRAMES) + 0.5) / FRAMES * (end - start)
        naive = backbone(frames[(times * 25 + 1e-3).astype(int)]).half().numpy()
        assert np.allclose(found[number].astype(float), naive.astype(float), atol=0.5)


def bright_film(path: Path, shots: list[tuple[int, int]]) -> None:
    """Write a film of shots: how many frames at 25 a second, and how bright they are."""
    frames = np.concatenate(
        [np.full((count, 64, 64, 3), brightness, np.uint8) for count, brightness in shots]
    )
    write_video(path, frames, rate=Fraction(25), quality=18)


def test_each_shot_is_seen_from_its_first_frame_to_its_last(tmp_path: Path) -> None:
    shots = [(61, 20), (53, 220), (140, 90), (56, 200)]
    bright_film(tmp_path / "film.mp4", shots)
    (path,), left_out = extract(tmp_path, {"film": 12.4}, segments=Shots())
    film = FilmFile(path)
    assert not left_out and film.facts.step == STEP and len(film) == 62
    cuts = [0, 2.44, 4.56, 10.16, 12.4]
    assert film.facts.spans.ravel().tolist() == pytest.approx(
        np.stack([cuts[:-1], cuts[1:]], axis=1).ravel().tolist()
    )
    found = film.segments(np.arange(4)).astype(float)
    for (_, brightness), features in zip(shots, found, strict=True):
        assert features.shape == (FRAMES, 3) and np.abs(features - brightness).max() < 8, "of no other shot"
    assert np.array_equal(film.segments(np.array([2, 0])), found[[2, 0]].astype(np.float16))


def test_a_short_video_without_a_cut_looks_as_it_does_as_a_whole(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    bright_film(tmp_path / "one.mp4", [(110, 120)])
    (path,), _ = extract(tmp_path, {"one": 4.4}, segments=Shots())
    assert FilmFile(path).facts.spans.tolist() == [[0, pytest.approx(4.4)]]
    film = FilmFile(path)
    frames = sample_frames(tmp_path / "one.mp4", FRAMES).frames
    expected = MeanColours()(frames).half().numpy()
    assert np.allclose(film.segments(np.array([0]))[0].astype(float), expected.astype(float), atol=1)


def test_a_file_of_an_earlier_version_is_read(make_video: MakeVideo, tmp_path: Path) -> None:
    make_video("film.mp4", 60)
    (path,), _ = extract(tmp_path, {"film": 2.4})
    spans, found = FilmFile(path).facts.spans, FilmFile(path).segments(np.arange(4))
    with h5py.File(path, "a") as file:
        del file["spans"]
        file["firsts"] = np.array([0, 2, 4, 6, 7])
    film = FilmFile(path)
    assert is_film_file(path) and np.allclose(film.facts.spans, spans)
    assert np.array_equal(film.segments(np.arange(4)), found)


def test_a_film_that_is_made_is_not_made_again_and_workers_do_not_matter(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        make_video(f"{name}.mp4", 60 if name == "one" else 90)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    names = {"one": 2.4, "bad": 9.0, "two": 3.6}
    paths, left_out = extract(tmp_path, names)
    assert [video.id for video in left_out] == ["bad"] and "not a video" in left_out[0].reason
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    (tmp_path / "work" / f".{paths[1].name}.killed.tmp").write_bytes(b"half of it")
    paths[1].unlink()
    again, _ = extract(tmp_path, names, workers=1)
    assert again == paths
    assert paths[0].stat().st_mtime_ns == before[0][1]
    assert [path.read_bytes() for path in paths] == [content for content, _ in before]


def test_a_film_that_is_shorter_than_its_header_says_is_one_segment(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    make_video("short.mp4", 20)
    (path,), _ = extract(tmp_path, {"short": 1.1})
    file = FilmFile(path)
    assert len(file) == FRAMES and file.facts.spans.tolist() == [[0, pytest.approx(0.8)]]


@pytest.mark.parametrize("change", ["spans", "features", "step", "text"])
def test_a_damaged_file_is_refused(make_video: MakeVideo, tmp_path: Path, change: str) -> None:
    make_video("film.mp4", 60)
    (path,), _ = extract(tmp_path, {"film": 2.4})
    if change == "text":
        path.write_bytes(b"no HDF5")
    else:
        with h5py.File(path, "a") as file:
            if change == "spans":
                file["spans"][-1] = 1000
            elif change == "features":
                del file["features"]
            else:
                file.attrs["step"] = np.nan
    with pytest.raises(UserError, match=path.name):
        FilmFile(path)


def test_an_interrupt_does_not_wait_for_the_film_that_is_being_worked_on(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    make_video("short.mp4", 60)
    make_video("long.mp4", 2000)
    batches: list[int] = []

    class Counted(MeanColours):
        def features(self, planes: Tensor) -> Tensor:
            batches.append(len(planes))
            if len(batches) > 50:  # by now it is the long one's; all of it would take twenty seconds
                time.sleep(0.05)
            return super().features(planes)

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    videos = [Video("short", "short.mp4", duration=2.4), Video("long", "long.mp4", duration=80.0)]
    work = {"frames": FRAMES, "batch_size": 1, "folder": tmp_path / "work", "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        extract_films(videos, tmp_path, Counted(), SEGMENTS, **work, progress=interrupted)  # type: ignore[arg-type]
    assert sum(batches) < 400, "the long one has 400 frames on the grid"
    assert len(list((tmp_path / "work").glob("film-*.h5"))) == 1
