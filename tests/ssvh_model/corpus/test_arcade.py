"""The demo corpus: a plan from the seed alone, real play, and files that do not depend on how they came
about.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ssvh_model.corpus import arcade, games
from ssvh_model.corpus.arcade import ArcadeSpec, make_clips, plan_arcade, render_arcade
from ssvh_model.corpus.arcade_plan import MODES_PER_GAME
from ssvh_model.corpus.game_list import GAMES, LEFT_OUT
from ssvh_model.corpus.processes import WorkerDied
from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import Video, read_manifest, write_manifest
from ssvh_model.progress import no_progress

SPEC = ArcadeSpec(clips=6, games=2, reuploads=2, distortion=0.6, bad_frames=0.25, frames=12, size=96)
BY_NAME = {game.name: game for game in GAMES}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clips", 0),
        ("games", 1),
        ("games", 94),
        ("reuploads", 0),
        ("distortion", 1.5),
        ("distortion", float("nan")),
        ("distortion", "much"),
        ("bad_frames", 0.6),
        ("frames", 1),
        ("frames", 12.0),
        ("size", 8),
        ("size", True),
    ],
)
def test_impossible_specs_name_the_key(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^corpus.arcade.{name} is .*; allowed are .*$"):
        replace(SPEC, **{name: value})  # type: ignore[arg-type]


def test_plan_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "_ale", None)
    assert len(plan_arcade(SPEC, 1)) == 6


def test_plan_is_balanced_and_shares_recordings() -> None:
    spec = replace(SPEC, clips=720, games=12, reuploads=3)
    plans = plan_arcade(spec, 5)
    assert len({plan.id for plan in plans}) == 720
    assert set(Counter(plan.game for plan in plans).values()) == {60}
    for game in {plan.game for plan in plans}:
        modes = Counter(plan.mode for plan in plans if plan.game == game)
        assert len(modes) == min(MODES_PER_GAME, len(BY_NAME[game].modes))
        assert max(modes.values()) - min(modes.values()) <= spec.reuploads
    for first in range(0, 720, 3):
        uploads = plans[first : first + 3]
        assert len({(plan.source, plan.game, plan.mode, plan.difficulty) for plan in uploads}) == 1
        assert first == 0 or plans[first - 1].source != uploads[0].source
    for plan in plans:
        assert plan.mode in BY_NAME[plan.game].modes
        assert plan.difficulty in BY_NAME[plan.game].difficulties
        assert plan.foreign_game != plan.game
    assert {plan.foreign_game for plan in plans} == {plan.game for plan in plans}


def test_plan_depends_on_the_seed_and_more_clips_leave_it() -> None:
    assert plan_arcade(SPEC, 1) == plan_arcade(SPEC, 1)
    assert plan_arcade(SPEC, 1) != plan_arcade(SPEC, 2)
    assert plan_arcade(replace(SPEC, clips=40), 1)[:6] == plan_arcade(SPEC, 1)
    with pytest.raises(UserError, match="seed is -1"):
        plan_arcade(SPEC, -1)


def test_missing_emulator_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    games._ale.cache_clear()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UserError, match=r"ale-py.*\.\[demo\]"):
        render_arcade(SPEC, tmp_path, seed=1, workers=1, progress=no_progress)


def test_list_is_what_the_package_ships_without_those_left_out() -> None:
    roms = pytest.importorskip("ale_py.roms")
    names = [game.name for game in GAMES]
    assert len(names) == 93
    assert names == sorted(set(roms.get_all_rom_ids()) - set(LEFT_OUT))
    assert set(LEFT_OUT) <= set(roms.get_all_rom_ids())


@pytest.mark.parametrize("name", ["asteroids", "demon_attack", "keystone_kapers", "video_cube", "zaxxon"])
def test_games_move_in_modes_that_the_emulator_knows(name: str) -> None:
    pytest.importorskip("ale_py")
    game = BY_NAME[name]
    emulator, _ = games._emulator(name)
    assert set(game.modes) <= set(emulator.getAvailableModes())
    assert set(game.difficulties) <= set(emulator.getAvailableDifficulties())
    frames = play(name, mode=game.modes[-1], ticks=np.arange(16) * 8)
    assert frames.shape[0] == 16 and frames.shape[2:] == (160, 3) and frames.dtype == np.uint8
    assert 210 <= frames.shape[1] <= 250
    assert frames.std() > 5
    assert sum((before != after).any() for before, after in pairwise(frames)) >= 8


def play(name: str, *, ticks: np.ndarray, mode: int | None = None, seed: int = 1) -> np.ndarray:
    game = BY_NAME[name]
    return games.play(
        game,
        mode=game.modes[0] if mode is None else mode,
        difficulty=game.difficulties[-1],
        seed=(seed, 2),
        warm_up=(250, 400),
        ticks=ticks,
    )


def test_play_depends_on_the_seed_only() -> None:
    pytest.importorskip("ale_py")
    ticks = np.arange(0, 160, 8)
    games._emulator.cache_clear()
    fresh = play("breakout", ticks=ticks)
    assert (play("breakout", ticks=ticks, mode=4, seed=2) != fresh).any()
    np.testing.assert_array_equal(
        play("breakout", ticks=ticks), fresh, "a used emulator is as good as a new one"
    )
    every = play("breakout", ticks=np.arange(160))
    np.testing.assert_array_equal(every[ticks], fresh, "taking more pictures changed the play")
    np.testing.assert_array_equal(play("breakout", ticks=np.array([8, 8, 16])), fresh[[1, 1, 2]])


def test_an_upload_is_the_same_whether_made_alone_or_with_the_others() -> None:
    pytest.importorskip("ale_py")
    plans = plan_arcade(SPEC, 1)[:2]
    together = list(make_clips(plans, SPEC))
    alone = next(make_clips(plans[1:], SPEC))
    np.testing.assert_array_equal(together[1].pictures, alone.pictures)
    assert together[1].bad_frames == alone.bad_frames
    assert (together[0].pictures != together[1].pictures).any()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Video]]:
    pytest.importorskip("ale_py")
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("arcade")
    return folder, render_arcade(SPEC, folder, seed=1, workers=2, progress=no_progress)


def test_videos_tell_what_is_in_the_files(rendered: tuple[Path, list[Video]], tmp_path: Path) -> None:
    import av

    folder, videos = rendered
    assert [video.id for video in videos] == [plan.id for plan in plan_arcade(SPEC, 1)]
    write_manifest(tmp_path / "manifest.csv", videos)
    assert len(read_manifest(tmp_path / "manifest.csv")) == 6
    for video in videos:
        with av.open(str(folder / video.path)) as container:
            decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(decoded) == video.frames == 12
        assert max(decoded[0].shape[:2]) == 96
        assert video.duration == pytest.approx(12 / 7.5)
        assert video.sha256 == sha256_of(folder / video.path)
        assert video.split == "" and video.usable and len(video.bad_frames) == 3
        assert video.fine_labels[0].startswith(video.labels[0] + ":")
        for index, kind in video.bad_frames.items():
            if kind == "black":
                assert decoded[index].mean() < 8
            if kind == "static":
                assert decoded[index].std() > 40
    assert [video.group for video in videos[::2]] == [video.group for video in videos[1::2]]
    assert len({video.group for video in videos}) == 3


def test_files_do_not_depend_on_workers_or_interruptions(
    rendered: tuple[Path, list[Video]], tmp_path: Path
) -> None:
    folder, videos = rendered
    few = replace(SPEC, clips=4)
    reports: list[tuple[int, int]] = []
    render_arcade(
        few, tmp_path, seed=1, workers=1, progress=lambda done, total: reports.append((done, total))
    )
    assert reports[0] == (0, 4) and reports[-1] == (4, 4) and reports == sorted(reports)
    # As after a crash: one clip without its row, one row without its clip, one clip cut short.
    (tmp_path / "rows" / f"{videos[0].id}.json").unlink()
    (tmp_path / videos[1].path).unlink()
    (tmp_path / videos[2].path).write_bytes(b"half")
    (tmp_path / "clips" / ".left.mp4.123.tmp").mkdir()
    (tmp_path / "clips" / ".left.mp4.123.tmp/left.mp4").write_bytes(b"half")
    untouched = (tmp_path / videos[3].path).stat().st_mtime_ns
    reports.clear()
    assert render_arcade(
        SPEC, tmp_path, seed=1, workers=1, progress=lambda done, total: reports.append((done, total))
    ) == list(videos)
    assert reports[0] == (1, 6) and reports[-1] == (6, 6)
    assert (tmp_path / videos[3].path).stat().st_mtime_ns == untouched
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == sorted(
        f"{video.id}.mp4" for video in videos
    )
    for path in (*folder.rglob("*.mp4"), *folder.rglob("*.json")):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_clips_of_another_plan_are_not_taken_for_finished(rendered: tuple[Path, list[Video]]) -> None:
    folder, _ = rendered
    plan = plan_arcade(SPEC, 1)[0]
    assert arcade._finished(plan, SPEC, folder) is not None
    assert arcade._finished(plan, replace(SPEC, clips=600, games=9), folder) is not None
    assert arcade._finished(plan, replace(SPEC, distortion=0.7), folder) is None
    assert arcade._finished(plan, replace(SPEC, frames=13), folder) is None
    assert arcade._finished(replace(plan, seed=2), SPEC, folder) is None


def test_a_dead_process_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ale_py")

    def die(function: object, jobs: list[object], *, workers: int) -> None:
        raise WorkerDied([jobs[1]])

    monkeypatch.setattr(arcade, "in_processes", die)
    plans = plan_arcade(SPEC, 1)
    with pytest.raises(UserError) as caught:
        render_arcade(SPEC, tmp_path, seed=1, workers=2, progress=no_progress)
    assert plans[2].source in str(caught.value) and plans[0].source not in str(caught.value)
    assert "\n" not in str(caught.value)
