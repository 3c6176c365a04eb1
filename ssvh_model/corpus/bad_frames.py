"""Frames that a good sampler should not choose, planted where the manifest says they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

STATIC, BLACK, BLURRED, DUPLICATED, FOREIGN = KINDS = ("static", "black", "blurred", "duplicated", "foreign")
LONGEST_RUN = 3
STATIC_GRAIN = 2  # pixels; finer noise would make the encoded file several times larger
BLUR = 1 / 12  # radius as a share of the longer side


def plan_bad_frames(rng: np.random.Generator, frames: int, share: float) -> dict[int, str]:
    """Decide which frames of a clip are bad, and how.

    Bad frames come in runs of one kind, one to `LONGEST_RUN` frames long. A good frame stands before each
    run, so that runs do not touch and a duplicated frame always repeats a good one.

    Args:
        frames: frames of the clip.
        share: of them that are bad, 0 to 0.5; the number is rounded down.

    Returns:
        Frame index -> kind, with ascending indices.

    Raises:
        ValueError: `share` is outside [0, 0.5].
    """
    if not 0 <= share <= 0.5:
        raise ValueError(f"share is {share}; allowed are 0 to 0.5")
    bad = int(share * frames + 1e-9)  # 0.29 * 100 is 28.999...
    runs: list[int] = []
    while (left := bad - sum(runs)) > 0:
        runs.append(min(left, int(rng.integers(1, LONGEST_RUN + 1))))
    spare = frames - bad - len(runs)
    # The good frames that need not stand before a run are dealt to the gaps; the last gap is behind the last
    # run.
    extra = rng.multinomial(spare, np.full(len(runs) + 1, 1 / (len(runs) + 1)))
    order = rng.permutation(len(KINDS))  # in turn, so that a corpus has about as many of each kind
    planned: dict[int, str] = {}
    position = 0
    for run, length in enumerate(runs):
        position += int(extra[run]) + 1
        planned.update(dict.fromkeys(range(position, position + length), KINDS[order[run % len(KINDS)]]))
        position += length
    return planned


def plant(
    frames: np.ndarray, bad_frames: Mapping[int, str], *, foreign: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Replace the frames that `bad_frames` names.

    Args:
        frames: [n, height, width, 3] uint8, the clip as it would be encoded; not changed.
        bad_frames: frame index -> kind.
        foreign: [at least as many as there are foreign frames, height, width, 3] uint8, from another
            recording; None if there are none.
        rng: for the static.

    Returns:
        A copy with the bad frames in it.

    Raises:
        ValueError: a kind is unknown, an index is outside the clip, frame 0 is to repeat the one before it,
            or there are too few foreign frames.
    """
    from PIL import Image, ImageFilter

    result = frames.copy()
    height, width = frames.shape[1:3]
    taken = 0
    for index, kind in sorted(bad_frames.items()):
        if not 0 <= index < len(frames) or (kind == DUPLICATED and index == 0):
            raise ValueError(f"a {kind} frame can't stand at {index} of {len(frames)}")
        if kind == STATIC:
            grain = rng.integers(
                0, 256, size=(-(-height // STATIC_GRAIN), -(-width // STATIC_GRAIN)), dtype=np.uint8
            )
            coarse = grain.repeat(STATIC_GRAIN, axis=0).repeat(STATIC_GRAIN, axis=1)
            result[index] = coarse[:height, :width, None]
        elif kind == BLACK:
            result[index] = 0
        elif kind == BLURRED:
            picture = Image.fromarray(frames[index])
            result[index] = np.asarray(picture.filter(ImageFilter.GaussianBlur(BLUR * max(height, width))))
        elif kind == DUPLICATED:
            result[index] = result[index - 1]
        elif kind == FOREIGN:
            if foreign is None or taken == len(foreign):
                raise ValueError(f"the clip wants more foreign frames than the {taken} that were given")
            result[index] = foreign[taken]
            taken += 1
        else:
            raise ValueError(f"bad frame kind {kind!r}; allowed are {', '.join(KINDS)}")
    return result
