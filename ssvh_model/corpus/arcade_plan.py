"""The plan of the demo corpus: what each clip shows, decided from the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ssvh_model.corpus.game_list import GAMES
from ssvh_model.errors import UserError

MODES_PER_GAME = 3  # more would leave the finer labels too few members


class Stream(IntEnum):
    """What a stream of random numbers is for; stands behind the corpus's seed in the stream's own."""

    CHOOSE = 0
    MODES = 1
    DIFFICULTY = 2
    PLAY = 3
    DISTORTION = 4
    GRAIN = 5
    BAD_FRAMES = 6
    FOREIGN_GAME = 7
    FOREIGN = 8


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
            "reuploads": (1, 100),
            "frames": (2, 300),
            "size": (32, 1080),
        }
        for name, (least, most) in whole.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise UserError(
                    f"corpus.arcade.{name} is {value!r}; allowed are whole numbers from {least} to {most}"
                )
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

    def key(self, stream: Stream) -> tuple[int, int, int]:
        """The seed of one random stream of this clip, or of its recording where all uploads share the
        stream.
        """
        return (self.seed, stream, self.recording if stream == Stream.PLAY else self.index)


def plan_arcade(spec: ArcadeSpec, seed: int) -> list[ClipPlan]:
    """Decide what each clip shows; needs no emulator.

    Recordings go round the games, and round the modes of each game, so that all labels have nearly the same
    number of members. More clips, or more games, leave the earlier choices as they are.

    Args:
        seed: at least 0.

    Returns:
        `spec.clips` plans; clips of one recording follow each other.

    Raises:
        UserError: the seed is negative.
    """
    if seed < 0:
        raise UserError(f"seed is {seed}; allowed are whole numbers from 0")
    order = np.random.default_rng((seed, Stream.CHOOSE)).permutation(len(GAMES))[: spec.games]
    chosen = [GAMES[index] for index in order]
    modes = [
        np.random.default_rng((seed, Stream.MODES, int(index)))
        .permutation(game.modes)[:MODES_PER_GAME]
        .tolist()
        for index, game in zip(order, chosen, strict=True)
    ]
    plans = []
    for clip in range(spec.clips):
        recording, upload = divmod(clip, spec.reuploads)
        turn, slot = divmod(recording, spec.games)
        game, mode = chosen[slot], modes[slot][turn % len(modes[slot])]
        difficulty = int(
            np.random.default_rng((seed, Stream.DIFFICULTY, recording)).choice(game.difficulties)
        )
        other = int(np.random.default_rng((seed, Stream.FOREIGN_GAME, clip)).integers(1, spec.games))
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
