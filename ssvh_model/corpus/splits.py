"""Deciding once which video is for training, validation, database and query: by group, and balanced over
labels.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ssvh_model.errors import UserError
from ssvh_model.manifest import SPLITS, Video
from ssvh_model.texts import listed

MOST_NAMED = 20  # groups in a message


@dataclass(frozen=True)
class SplitSpec:
    """What goes where.

    Attributes:
        validation, database, query: shares of the videos, 0 to 1, together below 1; the rest is for training.
        validation_groups, query_groups: groups that go there whatever the shares say.

    Raises:
        UserError: a share is out of its range, or a group is in both lists.
    """

    validation: float
    database: float
    query: float
    validation_groups: tuple[str, ...]
    query_groups: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("validation", "database", "query"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"corpus.split.{name}: {getattr(self, name)}; allowed are shares from 0 to below 1"
                )
        together = self.validation + self.database + self.query
        if together >= 1:
            raise UserError(
                f"corpus.split.validation, database and query: {together:g} together; it must be below 1, the rest is for training"
            )
        both = sorted(set(self.validation_groups) & set(self.query_groups))
        if both:
            raise UserError(
                f"corpus.split.query_groups: {both[0]!r} is in validation_groups too; a group has one side"
            )


def assign_splits(videos: Sequence[Video], spec: SplitSpec, *, seed: int) -> list[Video]:
    """Give every usable video a split.

    Videos of one group stay together; a video without a group is a group of its own, with files of the same
    content. A split that a video already has (a column of the user's CSV) is kept, and its group follows it.
    Then `validation_groups` and `query_groups` are placed. The rest is placed group by group, in an order
    drawn from `seed`, large groups first, each where its labels and the split as a whole lack most, against
    the shares; so every label is spread by the shares as far as groups allow. Shares are of all usable
    videos; where what is given exceeds one, the others share what is left. At last, a split with a share
    above 0 that got nothing takes the smallest group of the split that has most to spare.

    The result depends on the ids and the seed, not on the order of `videos`.

    Returns:
        `videos` in their order; those left out are unchanged.

    Raises:
        UserError: a group does not exist, a group's videos were given different splits, or nothing is left
            for training.
    """
    usable = [video for video in videos if video.usable]
    keys = _group_keys(usable)
    groups: defaultdict[str, list[Video]] = defaultdict(list)
    # Those with a group first: messages name the group of the first one.
    for video in sorted(usable, key=lambda video: not video.group):
        groups[keys[video.id]].append(video)
    _check_named_groups(spec, {video.group for video in usable if video.group})
    shares = {
        "train": 1 - spec.validation - spec.database - spec.query,
        "validation": spec.validation,
        "database": spec.database,
        "query": spec.query,
    }

    sides = {key: side for key, members in groups.items() if (side := _fixed_side(members, spec))}
    free = sorted(set(groups) - set(sides), key=lambda key: (-len(groups[key]), _draw(seed, key)))
    _place(free, groups, sides, shares, seed)
    _fill_empty(free, groups, sides, shares, seed)
    if usable and "train" not in sides.values():
        raise UserError(
            f"corpus.split: no video is left for training; {len(usable)} usable videos in {len(groups)} groups, "
            f"of which {len(groups) - len(free)} were placed by name{_said_of_copies(usable, keys)}"
        )
    return [replace(video, split=sides[keys[video.id]]) if video.usable else video for video in videos]


def _group_keys(videos: Sequence[Video]) -> dict[str, str]:
    """A key for the group of each video, by id. A copy of another file that has neither a group nor a split
    is in the other's group: of one that has either, if there is one. Videos of one file are no copies.
    """
    keys = {video.id: f"group {video.group}" if video.group else f"video {video.id}" for video in videos}
    alike: defaultdict[str, list[Video]] = defaultdict(list)
    for video in videos:
        if video.sha256:
            alike[video.sha256].append(video)
    for copies in alike.values():
        if len({video.path for video in copies}) == 1:
            continue
        first = min(copies, key=lambda video: (not video.group, not video.split, video.id))
        for video in copies:
            if not video.group and not video.split:
                keys[video.id] = keys[first.id]
    return keys


def _said_of_copies(videos: Sequence[Video], keys: Mapping[str, str]) -> str:
    """The end of a sentence about groups: two files that are in one because they are the same; "" if there
    are none.
    """
    first: dict[tuple[str, str], Video] = {}
    for video in videos:
        other = first.setdefault((video.sha256, keys[video.id]), video)
        if video.sha256 and video.path != other.path:
            return f"; copies of one file are in one group, such as {other.path} and {video.path}"
    return ""


def _check_named_groups(spec: SplitSpec, existing: set[str]) -> None:
    for name in ("validation_groups", "query_groups"):
        for group in getattr(spec, name):
            if group not in existing:
                groups = listed(sorted(existing), MOST_NAMED) or "no groups at all"
                raise UserError(f"corpus.split.{name}: there is no group {group!r}; there are {groups}")


def _fixed_side(members: Sequence[Video], spec: SplitSpec) -> str:
    """The split that a group has without our choice, or ""."""
    given = sorted({video.split for video in members if video.split})
    if len(given) > 1:
        raise UserError(
            f"corpus: videos of group {members[0].group!r} have the splits {' and '.join(given)}; a group has one side"
        )
    if members[0].group in spec.query_groups and members[0].group:
        named = "query"
    elif members[0].group in spec.validation_groups and members[0].group:
        named = "validation"
    else:
        return given[0] if given else ""
    if given and given[0] != named:
        raise UserError(
            f"corpus.split.{named}_groups: {members[0].group!r} is already in {given[0]} by its split column; allowed is one side"
        )
    return named


def _draw(seed: int, text: str) -> str:
    """A random number that belongs to `text`, as hex; the same wherever `text` stands."""
    return hashlib.sha256(f"{seed} {text}".encode()).hexdigest()


def _place(
    free: Sequence[str],
    groups: dict[str, list[Video]],
    sides: dict[str, str],
    shares: dict[str, float],
    seed: int,
) -> None:
    """Place each free group where its labels and the split as a whole lack most; changes `sides`.

    What a split lacks is measured against its share of what has been placed so far, not of all there is, so
    that neither rare labels nor the whole outweigh the other.
    """
    shares = _effective_shares(groups, sides, shares)
    held: defaultdict[str, Counter[str]] = defaultdict(Counter)  # label -> split -> videos
    for key, split in sides.items():
        for label, number in _label_counts(groups[key]).items():
            held[label][split] += number
    allowed = [split for split in SPLITS if shares[split] > 0]
    for key in free:
        counts = _label_counts(groups[key])

        def lacking(split: str, key: str = key, counts: Counter[str] = counts) -> tuple[float, str]:
            lacks = {
                label: shares[split] * (held[label].total() + number) - held[label][split]
                for label, number in counts.items()
            }
            whole = lacks.pop(EVERY)
            labelled = counts.total() - counts[EVERY]
            by_label = sum(counts[label] * lack for label, lack in lacks.items()) / max(1, labelled)
            return round(by_label + whole, 9), _draw(seed, f"{split} {key}")

        sides[key] = max(allowed, key=lacking)
        for label, number in counts.items():
            held[label][sides[key]] += number


def _effective_shares(
    groups: dict[str, list[Video]], sides: dict[str, str], shares: dict[str, float]
) -> dict[str, float]:
    """Shares after splits that hold more than theirs from the start have kept it, and the others share the
    rest.
    """
    total = max(1, sum(map(len, groups.values())))
    fixed = Counter({split: 0 for split in SPLITS})
    for key, split in sides.items():
        fixed[split] += len(groups[key])
    full: dict[str, float] = {}
    while True:
        open_shares = {split: share for split, share in shares.items() if split not in full}
        scale = (1 - sum(full.values())) / (sum(open_shares.values()) or 1)
        over = {
            split: fixed[split] / total
            for split, share in open_shares.items()
            if fixed[split] > share * scale * total
        }
        if not over:
            # A split that is full from the start gets nothing more: its share says so only until others have
            # caught up.
            return {split: 0.0 if split in full else share * scale for split, share in shares.items()}
        full.update(over)


EVERY = "\0every video"  # a label that all videos have, and no user's can be


def _label_counts(members: Sequence[Video]) -> Counter[str]:
    return Counter(label for video in members for label in (*video.labels, EVERY))


def _fill_empty(
    free: Sequence[str],
    groups: dict[str, list[Video]],
    sides: dict[str, str],
    shares: dict[str, float],
    seed: int,
) -> None:
    """Give each empty split with a share one group of a split that keeps another; changes `sides`. Training
    takes one also of a split that keeps none.
    """
    total = sum(map(len, groups.values()))
    for split in SPLITS:
        if not shares[split] or split in sides.values():
            continue
        held = Counter(sides.values())  # groups
        videos: Counter[str] = Counter()
        for key, side in sides.items():
            videos[side] += len(groups[key])
        donors = [key for key in free if held[sides[key]] > 1] or (list(free) if split == "train" else [])
        if donors:
            spare = {side: videos[side] - shares[side] * total for side in SPLITS}
            key = min(donors, key=lambda key: (-spare[sides[key]], len(groups[key]), _draw(seed, key)))
            sides[key] = split
