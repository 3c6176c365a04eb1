"""The demo corpus "arcade": gameplay clips, each recording uploaded several times with other distortions.

`plan_arcade` decides everything about each clip from the seed. `render_arcade` plays, distorts and encodes,
recording by recording and in parallel. A clip depends on its own plan only, so the files are the same however
many processes made them and however often the work was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from ssvh_model.corpus import games
from ssvh_model.corpus.arcade_plan import ArcadeSpec, ClipPlan, Stream, plan_arcade
from ssvh_model.corpus.bad_frames import FOREIGN, plan_bad_frames, plant
from ssvh_model.corpus.distortions import distort, draw_distortion
from ssvh_model.corpus.game_list import GAMES, Game
from ssvh_model.corpus.processes import WorkerDied, in_processes
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, remove_temporaries, sha256_of
from ssvh_model.manifest import Video, format_bad_frames, parse_bad_frames
from ssvh_model.progress import Progress

__all__ = ["RATE", "ArcadeSpec", "Clip", "ClipPlan", "make_clips", "plan_arcade", "render_arcade"]

TICKS_PER_FRAME = 8  # 7.5 frames a second: 32 frames show more than 4 s of play
RATE = Fraction(games.TICKS_PER_SECOND, TICKS_PER_FRAME)
WARM_UP = (
    240,
    900,
)  # ticks of play before the clip; several games show their title for the first three seconds
FOREIGN_WARM_UP = (240, 480)
RENDERER = 1  # raise it whenever the same plan gives other pictures, so that older clips are rendered again


@dataclass(frozen=True)
class Clip:
    """One clip before it is encoded.

    Attributes:
        pictures: [frames, height, width, 3] uint8, RGB.
        bad_frames: index -> kind.
        quality: constant rate factor to encode it with.
    """

    pictures: np.ndarray
    bad_frames: dict[int, str]
    quality: int


def make_clips(plans: Sequence[ClipPlan], spec: ArcadeSpec) -> Iterator[Clip]:
    """Play one recording and make the given uploads of it.

    The play is the same whichever uploads are asked for.

    Args:
        plans: of clips of one recording; at least one.

    Raises:
        UserError: `ale-py` is not installed.
    """
    distortions = [
        draw_distortion(np.random.default_rng(plan.key(Stream.DISTORTION)), spec.distortion) for plan in plans
    ]
    ticks = [
        np.floor(np.arange(spec.frames) * TICKS_PER_FRAME * distortion.speed).astype(np.int64)
        for distortion in distortions
    ]
    wanted = np.unique(np.concatenate(ticks))
    first = plans[0]
    recording = games.play(
        _game(first.game),
        mode=first.mode,
        difficulty=first.difficulty,
        seed=first.key(Stream.PLAY),
        warm_up=WARM_UP,
        ticks=wanted,
    )
    for plan, distortion, seen in zip(plans, distortions, ticks, strict=True):
        pictures = distort(
            recording[np.searchsorted(wanted, seen)],
            distortion,
            longer_side=spec.size,
            rng=np.random.default_rng(plan.key(Stream.GRAIN)),
        )
        rng = np.random.default_rng(plan.key(Stream.BAD_FRAMES))
        bad_frames = plan_bad_frames(rng, spec.frames, spec.bad_frames)
        foreign = None
        if count := sum(kind == FOREIGN for kind in bad_frames.values()):
            foreign = _foreign_frames(plan, count, height=pictures.shape[1], width=pictures.shape[2])
        yield Clip(plant(pictures, bad_frames, foreign=foreign, rng=rng), bad_frames, distortion.quality)


def _foreign_frames(plan: ClipPlan, count: int, *, height: int, width: int) -> np.ndarray:
    """`count` undistorted frames of another game, as large as the clip's."""
    from PIL import Image

    game = _game(plan.foreign_game)
    recording = games.play(
        game,
        mode=game.modes[0],
        difficulty=game.difficulties[0],
        seed=plan.key(Stream.FOREIGN),
        warm_up=FOREIGN_WARM_UP,
        ticks=np.arange(count) * TICKS_PER_FRAME,
    )
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in recording])


def _game(name: str) -> Game:
    return next(game for game in GAMES if game.name == name)


def render_arcade(
    spec: ArcadeSpec, folder: Path, *, seed: int, workers: int, progress: Progress
) -> list[Video]:
    """Render the corpus into `folder`, in parallel; clips that are there already, whole and of the same plan,
    stay.

    Writes `clips/<id>.mp4`, and after each of them `rows/<id>.json` with what the manifest says about it. The
    same spec and seed give the same files whatever `workers` is and however often the work was interrupted.

    Args:
        seed: at least 0.
        workers: processes, at least 1. Even one is a process of its own, because a game that goes wrong ends
            the process that it runs in.

    Returns:
        One video a clip in the order of the plan, with paths relative to `folder`, in no split.

    Raises:
        UserError: the package `ale-py` is missing, `seed` is negative, or a worker died; then the message
            names the recordings that the workers were at.
    """
    plans = plan_arcade(spec, seed)
    games.check_installed()
    _remove_half_written(folder)
    videos = {plan.id: video for plan in plans if (video := _finished(plan, spec, folder)) is not None}
    progress(len(videos), len(plans))
    missing = [plan for plan in plans if plan.id not in videos]
    recordings = [list(uploads) for _, uploads in groupby(missing, key=lambda plan: plan.source)]
    if recordings:
        try:
            render = partial(_render_recording, spec=spec, folder=folder)
            for done in in_processes(render, recordings, workers=min(workers, len(recordings))):
                videos.update((video.id, video) for video in done)
                progress(len(videos), len(plans))
        except WorkerDied as error:
            at = ", ".join(job[0].source for job in error.jobs)
            raise UserError(
                f"corpus.arcade: a process died while it rendered one of the recordings {at}: its game ended it, or the "
                "memory ran out; run again to go on from there"
            ) from error
    return [videos[plan.id] for plan in plans]


def _render_recording(plans: list[ClipPlan], *, spec: ArcadeSpec, folder: Path) -> list[Video]:
    """Render uploads of one recording, write their files, and tell what the manifest says about them."""
    from ssvh_model.video.encoding import write_video

    videos = []
    for plan, clip in zip(plans, make_clips(plans, spec), strict=True):
        path = folder / "clips" / f"{plan.id}.mp4"
        write_video(path, clip.pictures, rate=RATE, quality=clip.quality)
        video = _video(plan, spec, sha256_of(path), clip.bad_frames)
        row = {
            "made_from": _made_from(plan, spec),
            "bytes": path.stat().st_size,
            "sha256": video.sha256,
            "bad_frames": format_bad_frames(clip.bad_frames),
        }
        with atomic_path(folder / "rows" / f"{plan.id}.json") as temporary:
            temporary.write_text(json.dumps(row) + "\n", encoding="utf-8")
        videos.append(video)
    return videos


def _remove_half_written(folder: Path) -> None:
    """Remove what processes that were killed left; `atomic_path` had no chance to."""
    for name in ("clips", "rows"):
        remove_temporaries(folder / name)


def _finished(plan: ClipPlan, spec: ArcadeSpec, folder: Path) -> Video | None:
    """The clip's video if both of its files are there and belong to this plan."""
    try:
        row = json.loads((folder / "rows" / f"{plan.id}.json").read_text(encoding="utf-8"))
        whole = (folder / "clips" / f"{plan.id}.mp4").stat().st_size == row["bytes"]
        if not whole or row["made_from"] != _made_from(plan, spec):
            return None
        return _video(plan, spec, row["sha256"], parse_bad_frames(row["bad_frames"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made_from(plan: ClipPlan, spec: ArcadeSpec) -> dict[str, object]:
    """What a clip's file depends on; how many other clips there are is not among it."""
    settings = {
        name: value for name, value in asdict(spec).items() if name not in ("clips", "games", "reuploads")
    }
    return {"renderer": RENDERER, **asdict(plan), **settings}


def _video(plan: ClipPlan, spec: ArcadeSpec, sha256: str, bad_frames: dict[int, str]) -> Video:
    return Video(
        id=plan.id,
        path=f"clips/{plan.id}.mp4",
        labels=(plan.game,),
        fine_labels=(f"{plan.game}:{plan.mode}",),
        group=plan.source,
        frames=spec.frames,
        duration=float(spec.frames / RATE),
        sha256=sha256,
        bad_frames=bad_frames,
    )
