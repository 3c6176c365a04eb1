"""Ids of videos that are given as files: as short as no other video has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ssvh_model.files import sha256_of
from ssvh_model.index.file_paths import file_of_path, path_in_index, project_of
from ssvh_model.index.index import Index
from ssvh_model.index.known import Known
from ssvh_model.manifest import Video


def longer_ids(video: Video) -> list[str]:
    """A video's id, and the same with ever more of the folders before it that its file is in."""
    path = PurePosixPath("/", video.path)
    above = path.parent.parts[1:]
    for whole in (str(path), str(path.with_suffix(""))):
        if whole.endswith(f"/{video.id}"):
            above = PurePosixPath(whole.removesuffix(f"/{video.id}")).parts[1:]
    return ["/".join([*above[len(above) - count :], video.id]) for count in range(len(above) + 1)]


def has_dot_part(video: str) -> bool:
    """Whether a part of an id is '.' or '..': clients leave these out of an address before they send it, so
    that the video can't be reached by HTTP.
    """
    return not {".", ".."}.isdisjoint(video.split("/"))


def with_free_ids(videos: Sequence[Video], index: Index | None) -> list[Video]:
    """Videos, each with the id that an index has for its file, or else with the shortest that no other has.

    The index's video of an id is not another one if it may be the same: it is of the same bytes, or its file
    can't be read any more.

    Args:
        videos: with paths from the root of the file system, each of a file of its own.
        index: that they are to be added to; None for none.

    Raises:
        UserError: the index is damaged.
    """
    names = [longer_ids(video) for video in videos]
    known = index.known([name for ids in names for name in ids]) if index is not None else {}
    project = Path.cwd() if index is None else project_of(index.name)
    own = [_own_id(ids, video, known, project) for ids, video in zip(names, videos, strict=True)]
    used = {name for name in own if name is not None}
    free = []
    for name, ids, video in zip(own, names, videos, strict=True):
        if name is None:
            name = next(
                (one for one in ids if one not in used and not _is_another(known.get(one), video, project)),
                ids[-1],
            )
            used.add(name)
        free.append(replace(video, id=name))
    return free


def _own_id(ids: Sequence[str], video: Video, known: Mapping[str, Known], project: Path) -> str | None:
    path = path_in_index(Path("/", video.path), project)
    return next((one for one in ids if one in known and known[one].path == path), None)


def _is_another(known: Known | None, video: Video, project: Path) -> bool:
    if known is None:
        return False
    if known.sha256 is not None:
        return known.sha256 != video.sha256
    try:
        return sha256_of(Path(file_of_path(known.path, project))) != video.sha256
    except OSError:  # gone, or not for us to read: it may be the same
        return False
