"""What the commands encode, index, add and remove do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tasks.index.refresh
from flows.running.console import print_line, shown
from flows.running.environment import prepare_environment
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.index.coded_videos import CodedVideos, write_coded_videos
from ssvh_model.index.snapshot import open_snapshot
from ssvh_model.manifest import Video
from ssvh_model.texts import printable
from tasks.index.build import add_videos, build_index, remove_videos
from tasks.index.encode import (
    FEATURE_SUFFIXES,
    EncodedVideos,
    encode_features,
    encode_videos,
    find_given_videos,
    remove_work,
    segments_of,
)
from tasks.params.load import load_params
from tasks.registry.find_hasher import find_hasher


def encode(content: Sequence[Path], out: Path, *, hasher: str | None, label: str | None) -> None:
    """Write a codes file.

    Raises:
        UserError: the videos, the features or the hasher are at fault.
    """
    prepare_environment()
    params = load_params()
    source = find_hasher(hasher or params.index.hasher, model=params.register_.model)
    encoded: EncodedVideos | None = None
    if any(path.suffix in FEATURE_SUFFIXES for path in content):
        if len(content) > 1:
            raise UserError(
                f"{len(content)} files were given; allowed is one feature file, or any number of videos and folders"
            )
        coded = encode_features(FeatureFile(content[0]), source, params, progress=shown("videos encoded"))
    else:
        videos = find_given_videos(content, params, label=label, progress=shown("videos looked at"))
        encoded = encode_videos(videos, source, params, segments=segments_of(params), progress=shown)
        coded = encoded.coded
    write_coded_videos(out, coded)
    if encoded is not None:
        remove_work(encoded.work)
        _say_left_out(encoded.left_out)
    print(f"{out}: {_videos(coded.videos)}, codes of {coded.bits} bits by {coded.hasher.name}")


def make_index(content: Path, folder: Path, *, hasher: str | None) -> None:
    """Put a new index in the place of what is there.

    Raises:
        UserError: the file or the hasher is at fault.
    """
    prepare_environment()
    videos = build_index(folder, content, load_params(), hasher=hasher, say=print_line, progress=shown)
    _say_index(folder, videos)


def refresh_index(folder: Path, *, hasher: str | None) -> None:
    """Encode an index's videos anew if its hasher is not the one in service.

    Raises:
        UserError: there is no index, or the hasher or the features are at fault.
    """
    prepare_environment()
    made = open_snapshot(folder).hasher
    if not tasks.index.refresh.refresh_index(
        load_params(), hasher=hasher, folder=folder, say=print, progress=shown
    ):
        print(f"{folder}: its codes are by {made.name} already")


def add(places: Sequence[Path], folder: Path, *, hasher: str | None, label: str | None) -> None:
    """Add videos to an index.

    Raises:
        UserError: the index, the videos or the hasher are at fault.
    """
    prepare_environment()
    done = add_videos(
        folder, places, load_params(), hasher=hasher, label=label, say=print_line, progress=shown
    )
    _say_left_out(done.left_out)
    _say_videos("added", done.added)
    _say_videos("in the index already:", done.there)
    print(f"{folder}: {_videos(open_snapshot(folder).videos)}")


def remove(ids: Sequence[str], folder: Path) -> None:
    """Take videos out of an index.

    Raises:
        UserError: there is no index, or it never had such a video.
    """
    removed = remove_videos(folder, ids, load_params(), say=print_line)
    _say_videos("removed", removed)
    _say_videos("removed before:", [video for video in dict.fromkeys(ids) if video not in removed])
    print(f"{folder}: {_videos(open_snapshot(folder).videos)}")


def _say_videos(what: str, ids: Sequence[str]) -> None:
    if ids:
        print(f"{what} {', '.join(printable(video) for video in ids)}")


def _say_left_out(videos: Sequence[Video]) -> None:
    for video in videos:
        print(f"left out: /{printable(video.path)}: {printable(video.reason)}")


def _say_index(folder: Path, videos: CodedVideos) -> None:
    cells = open_snapshot(folder).cells
    how = "exact search" if cells is None else f"search in {cells.probes} of {len(cells.ends)} cells"
    print(f"{folder}: {_videos(videos.videos)}, codes of {videos.bits} bits by {videos.hasher.name}, {how}")


def _videos(count: int) -> str:
    return f"{count} video{'' if count == 1 else 's'}"
