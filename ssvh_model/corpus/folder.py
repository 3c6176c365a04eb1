"""The corpus source "folder": a user's own videos, as `class/clip.ext`, with a CSV of labels, or without
labels.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ssvh_model.corpus.looked_at import LookedAt
from ssvh_model.errors import UserError
from ssvh_model.files import sha256_of
from ssvh_model.manifest import SPLITS, Video, split_labels, stays_inside
from ssvh_model.progress import Progress
from ssvh_model.video.container import UnreadableVideo
from ssvh_model.video.decoding import probe
from ssvh_model.video.places import VideoPlace

EXTENSIONS = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".f4v",
        ".3gp",
        ".3g2",
        ".mkv",
        ".webm",
        ".avi",
        ".wmv",
        ".asf",
        ".flv",
        ".ogv",
    ),
    *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".nut", ".gif"),
)
NO_FILE = "missing: the labels CSV names it, but there is no such file"


@dataclass(frozen=True)
class FolderColumns:
    """Names of the columns of a labels CSV.

    Attributes:
        file: the video's path; required.
        label, fine_label: one or several labels, joined by "|"; None if there is no such column.
        group: recordings that must stay on one side of a split.
        split: a split decided by the user, one of train, validation, database, query, or empty.
    """

    file: str
    label: str | None
    fine_label: str | None
    group: str | None
    split: str | None


def scan_folder(
    place: VideoPlace,
    *,
    labels_csv: str | None,
    columns: FolderColumns,
    workers: int,
    progress: Progress,
    looked_at: LookedAt | None = None,
) -> list[Video]:
    """Find the videos in a folder, look into each, and give them their labels.

    Without a CSV, a video in a subfolder has the name of the first folder as label, and a video in none of
    them has none. With a CSV, folder names mean nothing: labels, groups and splits are those of its lines,
    and a video that it does not name is unlabelled. Its files are looked for in this order: relative to the
    folder, relative to the CSV's folder, by their bare name (with or without extension) anywhere in it, if
    there is only one of that name. A file that it names but that is not there, or that leads out of the
    folder, is left out with the reason.

    Hidden files and folders, files without a video's extension (`EXTENSIONS`) and links to folders are not
    looked at. A link to a video out of the folder is listed as left out. Every video is opened and its first
    frame decoded.

    Args:
        place: the folder.
        labels_csv: path of the CSV in the folder, or None.
        columns: names of the CSV's columns.
        workers: threads that look into files.
        progress: counts videos.
        looked_at: notes on videos that were looked into before; they are not opened again.

    Returns:
        The videos sorted by path, unreadable ones left out with the reason; no splits but the CSV's. An id is
        the path without its extension, or with it where two videos would have the same.

    Raises:
        UserError: there is no such folder, no video in it, or the CSV is missing, lacks a column, names a
            file twice or a split that does not exist.
        StorageAway: the folder or a video can't be fetched.
    """
    place.check()
    paths, outside = find_videos(place)
    if labels_csv is None:
        found = [Video(id=path, path=path, labels=_folder_label(path)) for path in paths]
        lost = [Video(id=path, path=path) for path in outside]
    else:
        lines = _read_csv(place, labels_csv, columns, [*paths, *outside])
        found = [replace(lines.pop(path, Video(id=path, path=path)), path=path) for path in paths]
        lost = [replace(lines.pop(path, Video(id=path, path=path)), path=path) for path in outside]
        found += lines.values()
    if not found and not lost:
        raise UserError(
            f"{place.name_of('')}: no videos found; looked for files that end in {' '.join(EXTENSIONS)}, here and in all subfolders"
        )
    seen = look_into(place, found, workers, progress, looked_at)
    seen += [video.left_out("a link that leads out of the video folder") for video in lost]
    return _with_ids(sorted(seen, key=lambda video: video.path))


def find_videos(place: VideoPlace) -> tuple[list[str], list[str]]:
    """Paths of the videos in a folder, and of links to videos out of it; sorted, with forward slashes."""
    inside, outside = ([path for path in paths if _is_video(path)] for paths in place.files())
    return inside, outside


def _is_video(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in EXTENSIONS


def _folder_label(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    return (parts[0],) if len(parts) > 1 else ()


def _read_csv(
    place: VideoPlace, labels_csv: str, columns: FolderColumns, paths: Sequence[str]
) -> dict[str, Video]:
    """The CSV's lines by the path of their video; lines without a usable file are marked as left out."""
    table = place.name_of(labels_csv)
    try:
        content = place.read(labels_csv)
    except FileNotFoundError as error:
        raise UserError(
            f"corpus.labels_csv: {table} does not exist; the path is relative to the video folder"
        ) from error
    resolve = _path_finder(place, labels_csv, paths)
    lines: dict[str, Video] = {}
    try:
        for number, row in _rows(table, content, columns):
            name = row[columns.file]
            path, fault = resolve(name)
            if path in lines:
                raise UserError(
                    f"{table}, line {number}: {name!r} is the file {path}, which an earlier line names too"
                )
            split = row[columns.split] if columns.split else ""
            if split not in ("", *SPLITS):
                raise UserError(
                    f"{table}, line {number}: split {split!r}; allowed are {', '.join(SPLITS)} or nothing"
                )
            video = Video(
                id=path,
                path=path,
                labels=split_labels(row[columns.label]) if columns.label else (),
                fine_labels=split_labels(row[columns.fine_label]) if columns.fine_label else (),
                group=row[columns.group] if columns.group else "",
                split=split,
            )
            lines[path] = video.left_out(fault) if fault else video
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table}: not a CSV file in UTF-8 ({error})") from error
    return lines


def _rows(table: str, content: bytes, columns: FolderColumns) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and stripped cells of the CSV; empty lines are passed over."""
    with io.StringIO(content.decode("utf-8-sig"), newline="") as file:
        reader = csv.DictReader(file, restval="")
        for key, name in vars(columns).items():
            if name is not None and name not in (reader.fieldnames or ()):
                found = ", ".join(reader.fieldnames or ()) or "none"
                raise UserError(
                    f"corpus.columns.{key}: {table} has no column {name!r}; its columns are {found}"
                )
        for row in reader:
            cells = {key: value.strip() for key, value in row.items() if isinstance(value, str)}
            if not any(cells.values()):
                continue
            if not cells[columns.file]:
                raise UserError(
                    f"{table}, line {reader.line_num}: column {columns.file!r} is empty; it names the video"
                )
            yield reader.line_num, cells


def _path_finder(
    place: VideoPlace, labels_csv: str, paths: Sequence[str]
) -> Callable[[str], tuple[str, str]]:
    """A function from a name in the CSV to the path of its video, and "" or why there is none."""
    known = set(paths)
    namesakes: defaultdict[str, set[str]] = defaultdict(set)
    for path in map(PurePosixPath, paths):
        for name in (path.name, path.stem):  # many published lists leave the extension out
            namesakes[name].add(path.as_posix())
    beside = PurePosixPath(labels_csv).parent

    def find(name: str) -> tuple[str, str]:
        name = place.path_in(name)
        if not stays_inside(name):
            # The line stays in the manifest, under a path that can do no harm.
            harmless = "/".join(
                part for part in name.replace("\0", "").split("/") if part not in ("", ".", "..")
            )
            return f"outside/{harmless}", "its path leads out of the video folder"
        plain = PurePosixPath(name).as_posix()
        for candidate in (plain, (beside / name).as_posix()):
            if candidate in known:
                return candidate, ""
        meant = sorted(namesakes.get(plain, ()))
        if len(meant) == 1:
            return meant[0], ""
        if meant:
            return plain, f"not clear which file is meant: {', '.join(meant[:3])}"
        if place.has_file(plain):
            return (
                plain,
                f"not looked at: a video's name ends in one of {' '.join(EXTENSIONS)}, and no part of its path is hidden",
            )
        return plain, NO_FILE

    return find


def look_into(
    place: VideoPlace,
    videos: Sequence[Video],
    workers: int,
    progress: Progress,
    looked_at: LookedAt | None = None,
) -> list[Video]:
    """Open each video of a folder and add its digest, length and duration, or the reason why it is left out.

    Raises:
        StorageAway: a video can't be fetched.
    """

    def look(video: Video) -> Video:
        if not video.usable:
            return video
        if looked_at is None:
            return _look_into_one(place, video)
        return looked_at.noted(video) or looked_at.note(_look_into_one(place, video))

    seen: list[Video] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for video in pool.map(look, videos):
                seen.append(video)
                progress(len(seen), len(videos))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the rest would be fetched in vain
            raise
    return seen


def _look_into_one(place: VideoPlace, video: Video) -> Video:
    try:
        with place.opened(video) as path:
            if not path.exists():
                what = "a link that leads nowhere" if path.is_symlink() else "there is no such file"
                return video.left_out(f"missing: {what}")
            if not path.is_file():
                return video.left_out("not a regular file")
            video = replace(video, sha256=sha256_of(path))
            seen = probe(path)
    except UnreadableVideo as error:
        return video.left_out(error.reason)
    except OSError as error:
        return video.left_out(f"could not be read: {error.strerror or error}")
    return replace(video, frames=seen.frames, duration=seen.duration, reason=seen.remark)


def _with_ids(videos: Sequence[Video]) -> list[Video]:
    stems = [PurePosixPath(video.path).with_suffix("").as_posix() for video in videos]
    count = Counter(stems)
    taken = {video.path for video in videos}
    return [
        # "a.mp4" is also what is left of "a.mp4.avi"
        replace(video, id=stem if count[stem] == 1 and stem not in taken else video.path)
        for video, stem in zip(videos, stems, strict=True)
    ]
