"""The demo corpus "arcade": gameplay clips, each recording uploaded several times with other distortions.

`plan_arcade` decides everything about each clip from the seed. `render_arcade` plays, distorts and encodes, clip by clip and in
parallel. A clip depends on its own plan only, so the files are the same however many processes made them and however often
the work was interrupted.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from ssvh_model.corpus import games
from ssvh_model.corpus.bad_frames import FOREIGN, plan_bad_frames, plant
from ssvh_model.corpus.distortions import distort, draw_distortion
from ssvh_model.corpus.game_list import GAMES, Game
from ssvh_model.corpus.manifest import Video, format_bad_frames, parse_bad_frames
from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path, sha256_of
from ssvh_model.progress import Progress

TICKS_PER_FRAME = 8  # 7.5 frames a second: 32 frames show more than 4 s of play
RATE = Fraction(games.TICKS_PER_SECOND, TICKS_PER_FRAME)
MODES_PER_GAME = 3  # more would leave the finer labels too few members
RENDERER = 1  # raise it whenever the same plan gives other pictures, so that older clips are rendered again

# What a random stream is for; stands behind the seed in its key.
_CHOOSE, _MODES, _PLAY, _DISTORT, _BAD, _FOREIGN, _GRAIN, _FOREIGN_GRAIN = range(8)


@dataclass(frozen=True)
class ArcadeSpec:
    """What the demo corpus is to hold.

    Attributes:
        clips: files.
        games: different games, 2 to 93; the seed says which.
        reuploads: clips made from one recording.
        distortion: strength, 0 (none) to 1.
        bad_frames: share of a clip's frames that are planted bad ones, 0 to 0.5.
        frames: of a clip.
        size: longer side, pixels.

    Raises:
        UserError: a value is not possible; the message names it as `corpus.arcade.<name>`.
    """

    clips: int
    games: int
    reuploads: int
    distortion: float
    bad_frames: float
    frames: int
    size: int

    def __post_init__(self) -> None:
        whole = {
            "clips": (1, 1_000_000),
            "games": (2, len(GAMES)),
            "reuploads": (1, 1000),
            "frames": (2, 3000),
            "size": (32, 1080),
        }
        for name, (least, most) in whole.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise UserError(f"corpus.arcade.{name} is {value!r}; allowed are whole numbers from {least} to {most}")
        for name, limit in {"distortion": 1, "bad_frames": 0.5}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= limit:
                raise UserError(f"corpus.arcade.{name} is {value!r}; allowed are numbers from 0 to {limit}")


@dataclass(frozen=True)
class ClipPlan:
    """Everything that decides what one clip shows, beside the spec.

    Attributes:
        id: of the clip, unique in the corpus.
        index: of the clip, from 0.
        source: id of the recording that the clip is an upload of.
        recording: index of that recording, from 0.
        game, mode, difficulty: what is played.
        foreign_game: what the planted frames from another recording show.
        seed: of the corpus.
    """

    id: str
    index: int
    source: str
    recording: int
    game: str
    mode: int
    difficulty: int
    foreign_game: str
    seed: int

    def key(self, stream: int, number: int) -> tuple[int, ...]:
        """The seed of one random stream."""
        return (self.seed, stream, number)


def plan_arcade(spec: ArcadeSpec, seed: int) -> list[ClipPlan]:
    """Decide what each clip shows; needs no emulator.

    Recordings go round the games, and round the modes of each game, so that all labels have nearly the same number of
    members. More clips, or more games, leave the earlier choices as they are.

    Args:
        seed: at least 0.

    Returns:
        `spec.clips` plans; clips of one recording follow each other.

    Raises:
        UserError: the seed is negative.
    """
    if seed < 0:
        raise UserError(f"seed is {seed}; allowed are whole numbers from 0")
    order = np.random.default_rng((seed, _CHOOSE)).permutation(len(GAMES))[: spec.games]
    chosen = [GAMES[index] for index in order]
    modes = [
        np.random.default_rng((seed, _MODES, int(index))).permutation(game.modes)[:MODES_PER_GAME].tolist()
        for index, game in zip(order, chosen, strict=True)
    ]
    plans = []
    for clip in range(spec.clips):
        recording, upload = divmod(clip, spec.reuploads)
        turn, slot = divmod(recording, spec.games)
        game, mode = chosen[slot], modes[slot][turn % len(modes[slot])]
        difficulty = int(np.random.default_rng((seed, _PLAY, recording)).choice(game.difficulties))
        other = int(np.random.default_rng((seed, _FOREIGN, clip)).integers(1, spec.games))
        source = f"{game.name}-m{mode}-{recording:05d}"
        plans.append(
            ClipPlan(
                id=f"{source}-{upload}",
                index=clip,
                source=source,
                recording=recording,
                game=game.name,
                mode=mode,
                difficulty=difficulty,
                foreign_game=chosen[(slot + other) % spec.games].name,
                seed=seed,
            )
        )
    return plans


def clip_frames(plan: ClipPlan, spec: ArcadeSpec) -> tuple[np.ndarray, dict[int, str], int]:
    """Make one clip's pictures.

    Returns:
        The pictures [spec.frames, height, width, 3] uint8; which of them are bad, index -> kind; and the quality to encode
        them with.
    """
    distortion = draw_distortion(np.random.default_rng(plan.key(_DISTORT, plan.index)), spec.distortion)
    ticks = np.floor(np.arange(spec.frames) * TICKS_PER_FRAME * distortion.speed).astype(np.int64)
    recorded = games.play(
        _game(plan.game),
        mode=plan.mode,
        difficulty=plan.difficulty,
        seed=plan.key(_PLAY, plan.recording),
        ticks=ticks,
    )
    grain = np.random.default_rng(plan.key(_GRAIN, plan.index))
    pictures = distort(recorded, distortion, longer_side=spec.size, rng=grain)
    rng = np.random.default_rng(plan.key(_BAD, plan.index))
    bad_frames = plan_bad_frames(rng, spec.frames, spec.bad_frames)
    foreign = None
    if count := sum(kind == FOREIGN for kind in bad_frames.values()):
        foreign = _foreign_frames(plan, spec, count, pictures.shape[1:3])
    return plant(pictures, bad_frames, foreign=foreign, rng=rng), bad_frames, distortion.quality


def _foreign_frames(plan: ClipPlan, spec: ArcadeSpec, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """`count` undistorted frames of another game, as large as the clip's."""
    from PIL import Image

    game = _game(plan.foreign_game)
    recorded = games.play(
        game,
        mode=game.modes[0],
        difficulty=game.difficulties[0],
        seed=plan.key(_FOREIGN, plan.index),
        ticks=np.arange(count) * TICKS_PER_FRAME,
    )
    return np.stack([Image.fromarray(frame).resize((shape[1], shape[0])) for frame in recorded])


def _game(name: str) -> Game:
    return next(game for game in GAMES if game.name == name)


def render_arcade(
    spec: ArcadeSpec, folder: Path, *, seed: int, workers: int, progress: Progress
) -> list[Video]:
    """Render the corpus into `folder`, in parallel; clips that are there already, whole and of the same plan, stay.

    Writes `clips/<id>.mp4`, and after each of them `rows/<id>.json` with what the manifest says about it. The same spec and
    seed give the same files whatever `workers` is and however often the work was interrupted.

    Args:
        seed: at least 0.
        workers: processes. Even one is a process of its own, because a game that goes wrong ends the process it runs in.

    Returns:
        One video a clip in the order of the plan, with paths relative to `folder`, in no split.

    Raises:
        UserError: the package `ale-py` is missing, or a worker died; the message names the clips it was at.
    """
    plans = plan_arcade(spec, seed)
    games.check_installed()
    videos: dict[int, Video] = {}
    for plan in plans:
        if (video := _finished(plan, spec, folder)) is not None:
            videos[plan.index] = video
    progress(len(videos), len(plans))
    waiting = iter([plan for plan in plans if plan.index not in videos])
    if len(videos) < len(plans):
        # 'spawn': a fork would copy the locks of whatever threads the caller runs.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max(1, workers), mp_context=context, initializer=_end_with_parent) as pool:
            # One clip a worker in flight and no queue: then a dead worker's clip is among these few.
            in_flight: dict[Future[Video], ClipPlan] = {}
            try:
                while True:
                    while len(in_flight) < max(1, workers) and (plan := next(waiting, None)) is not None:
                        in_flight[pool.submit(_render_clip, plan, spec, folder)] = plan
                    if not in_flight:
                        break
                    for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                        videos[in_flight[future].index] = future.result()
                        del in_flight[future]
                    progress(len(videos), len(plans))
            except BrokenProcessPool as error:
                raise UserError(
                    f"corpus.arcade: a rendering process died, out of memory or ended by its game, at one of the clips "
                    f"{', '.join(plan.id for plan in in_flight.values())}; run again to go on from there"
                ) from error
    return [videos[plan.index] for plan in plans]


def _render_clip(plan: ClipPlan, spec: ArcadeSpec, folder: Path) -> Video:
    """Render one clip, write its files, and tell what the manifest says about it."""
    from ssvh_model.video.encoding import write_video

    pictures, bad_frames, quality = clip_frames(plan, spec)
    path = folder / "clips" / f"{plan.id}.mp4"
    write_video(path, pictures, rate=RATE, quality=quality)
    row = {
        "made_from": _made_from(plan, spec),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "bad_frames": format_bad_frames(bad_frames),
    }
    with atomic_path(folder / "rows" / f"{plan.id}.json") as temporary:
        temporary.write_text(json.dumps(row) + "\n", encoding="utf-8")
    return _video(plan, spec, row["sha256"], bad_frames)


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
    """What a clip's pictures depend on; not how many other clips there are."""
    settings = {name: value for name, value in asdict(spec).items() if name not in ("clips", "games", "reuploads")}
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


def _end_with_parent() -> None:
    """Let this worker end when its parent is killed; it would wait for work forever otherwise."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            multiprocessing.connection.wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
