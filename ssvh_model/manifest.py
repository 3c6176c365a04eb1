"""The manifest: one line a video, readable or not, with everything that later steps may know about it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path

SPLITS = ("train", "validation", "database", "query")
LEAST_TRAINING_VIDEOS = 2  # one has nothing to be told apart from
MOST_FRAMES = 10**7  # four days of video; a claim of more would only take memory
OK = "ok"
LEFT_OUT = "left out"
COLUMNS = (
    "id",
    "path",
    "labels",
    "fine_labels",
    "group",
    "split",
    "frames",
    "duration",
    "status",
    "reason",
    "sha256",
    "bad_frames",
)


@dataclass(frozen=True)
class Video:
    """One video of a corpus.

    Attributes:
        id: unique in the corpus and the same at every scan.
        path: relative to the corpus's video root, with forward slashes; never leads out of it.
        labels: what makes two videos relevant to each other; empty if unlabelled.
        fine_labels: a second, finer labelling; empty if there is none.
        group: recordings that belong together and must not be split apart; "" if alone.
        split: one of `SPLITS`, or "" while undecided or left out.
        frames: number of decodable frames as far as known; 0 if unknown.
        duration: seconds.
        status: `OK` or `LEFT_OUT`.
        reason: why it was left out, or a remark on how it was handled; one line.
        sha256: of the file's bytes; "" where there was no file to read.
        bad_frames: planted faults, frame index in the file -> kind (static, black, blurred, duplicated,
            foreign).
    """

    id: str
    path: str
    labels: tuple[str, ...] = ()
    fine_labels: tuple[str, ...] = ()
    group: str = ""
    split: str = ""
    frames: int = 0
    duration: float = 0.0
    status: str = OK
    reason: str = ""
    sha256: str = ""
    bad_frames: Mapping[int, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """True if later steps work with this video."""
        return self.status == OK

    def left_out(self, reason: str) -> Video:
        """This video marked as left out for `reason`, in no split."""
        return replace(self, status=LEFT_OUT, split="", reason=" ".join(reason.split()))


class NothingReadable(UserError):
    """Not one of the videos can be read.

    Attributes:
        videos: all of them, each with the reason.
    """

    def __init__(self, message: str, videos: list[Video]) -> None:
        super().__init__(message)
        self.videos = videos


def write_manifest(path: Path, videos: Iterable[Video]) -> None:
    """Write `videos` as CSV with the columns `COLUMNS`, atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for video in videos:
            writer.writerow(
                {
                    **{name: getattr(video, name) for name in COLUMNS},
                    "labels": "|".join(video.labels),
                    "fine_labels": "|".join(video.fine_labels),
                    "duration": f"{video.duration:.3f}",
                    "bad_frames": format_bad_frames(video.bad_frames),
                }
            )


def read_manifest(path: Path) -> list[Video]:
    """Read what `write_manifest` wrote.

    Raises:
        UserError: the file is missing, lacks a column, repeats an id, has a path that leads out of the video
            root, or a line can't be read.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; the stage 'corpus' makes it")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path}: column {missing[0]!r} is missing; a manifest has {', '.join(COLUMNS)}"
                )
            videos = [_video_from_row(path, line, row) for line, row in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable manifest, which is a CSV file in UTF-8 ({error})") from error
    seen: set[str] = set()
    for video in videos:
        if video.id in seen:
            raise UserError(f"{path}: id {video.id!r} stands there twice; ids must be unique")
        seen.add(video.id)
    return videos


def _video_from_row(path: Path, line: int, row: dict[str, str]) -> Video:
    try:
        video = Video(
            id=row["id"],
            path=row["path"],
            labels=split_labels(row["labels"]),
            fine_labels=split_labels(row["fine_labels"]),
            group=row["group"],
            split=row["split"],
            frames=int(row["frames"]),
            duration=float(row["duration"]),
            status=row["status"],
            reason=row["reason"],
            sha256=row["sha256"],
            bad_frames=parse_bad_frames(row["bad_frames"]),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}, line {line}: {error}") from error
    if not stays_inside(video.path):
        raise UserError(f"{path}, line {line}: path {video.path!r} leads out of the video folder")
    if video.split not in ("", *SPLITS):
        raise UserError(
            f"{path}, line {line}: split {video.split!r}; allowed are {', '.join(SPLITS)} or nothing"
        )
    return video


def stays_inside(path: str) -> bool:
    """True if a manifest's relative path can't lead out of the folder that it is relative to."""
    parts = Path(path).parts
    return bool(parts) and not Path(path).is_absolute() and ".." not in parts and "\0" not in path


def split_labels(text: str) -> tuple[str, ...]:
    """The labels in one table cell: `"a|b"` -> `("a", "b")`, `""` -> `()`."""
    return tuple(part for part in text.split("|") if part)


def format_bad_frames(bad_frames: Mapping[int, str]) -> str:
    """`{3: "static", 4: "static", 9: "black"}` -> `"static:3-4;black:9"`."""
    runs: list[tuple[str, int, int]] = []
    for index, kind in sorted(bad_frames.items()):
        if runs and runs[-1][0] == kind and runs[-1][2] == index - 1:
            runs[-1] = (kind, runs[-1][1], index)
        else:
            runs.append((kind, index, index))
    return ";".join(
        f"{kind}:{first}" if first == last else f"{kind}:{first}-{last}" for kind, first, last in runs
    )


def parse_bad_frames(text: str) -> dict[int, str]:
    """The inverse of `format_bad_frames`.

    Raises:
        ValueError: the text is not of that form.
    """
    bad_frames: dict[int, str] = {}
    for run in filter(None, text.split(";")):
        kind, _, span = run.partition(":")
        first, _, last = span.partition("-")
        if not kind or not first.isdigit() or (last and not last.isdigit()):
            raise ValueError(f"bad_frames {run!r}; the form is kind:first-last")
        if int(last or first) >= MOST_FRAMES:
            raise ValueError(f"bad_frames {run!r}; allowed are frames below {MOST_FRAMES}")
        bad_frames.update(dict.fromkeys(range(int(first), int(last or first) + 1), kind))
    return bad_frames
