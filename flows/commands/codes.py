"""What the commands encode, index, add and remove do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tasks.index.refresh
from flows.running.console import print_line, shown
from flows.running.environment import prepare_environment
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.files import check_writable
from ssvh_model.index.coded_videos import CodedVideos, write_coded_videos
from ssvh_model.index.index import Index, open_index
from ssvh_model.manifest import Video
from ssvh_model.texts import listed, printable
from tasks import paths
from tasks.index.build import add_videos, build_index, remove_videos
from tasks.index.encode import FEATURE_SUFFIXES, encode_features, segments_of
from tasks.index.given_videos import EncodedVideos, encode_videos, find_given_videos, remove_work
from tasks.index.place import index_place
from tasks.params.load import load_params_anywhere
from tasks.registry.find_hasher import find_hasher

MOST_NAMED = 20  # videos in one line


def encode(content: Sequence[Path], out: Path, *, hasher: str | None, label: str | None) -> None:
    """Write a codes file.

    Raises:
        UserError: the videos, the features or the hasher are at fault, or the file can't be written.
    """
    check_writable(out)
    prepare_environment()
    params = load_params_anywhere()
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


def make_index(content: Path, place: str | None, *, hasher: str | None) -> None:
    """Put a new index in the place of what is there.

    Raises:
        UserError: the file or the hasher is at fault.
    """
    prepare_environment()
    params = load_params_anywhere()
    place = place or index_place(params)
    videos = build_index(place, content, params, hasher=hasher, say=print_line, progress=shown)
    _say_index(open_index(place), videos)


def make_first_index(place: str) -> None:
    """Make the index of a project that has run but has none: by the hasher of `index.hasher`, such as the
    champion, or by that of the last run where there is none yet.

    Raises:
        UserError: MLflow is away, or the hasher or the features are at fault.
    """
    prepare_environment()
    params = load_params_anywhere()
    hasher = params.index.hasher
    try:
        find_hasher(hasher, model=params.register_.model)
    except UserError:
        hasher = params.register_.alias
    make_index(paths.FEATURE_FILE, place, hasher=hasher)


def refresh_index(place: str | None, *, hasher: str | None) -> None:
    """Encode an index's videos anew if its hasher is not the one in service.

    Raises:
        UserError: there is no index, or the hasher or the features are at fault.
    """
    prepare_environment()
    params = load_params_anywhere()
    index = open_index(place := place or index_place(params))
    made = index.snapshot().hasher
    if not tasks.index.refresh.refresh_index(params, hasher=hasher, place=place, say=print, progress=shown):
        print(f"{index.name}: its codes are by {made.name} already")


def add(places: Sequence[Path], place: str | None, *, hasher: str | None, label: str | None) -> None:
    """Add videos to an index.

    Raises:
        UserError: the index, the videos or the hasher are at fault.
    """
    prepare_environment()
    params = load_params_anywhere()
    place = place or index_place(params)
    done = add_videos(place, places, params, hasher=hasher, label=label, say=print_line, progress=shown)
    _say_left_out(done.left_out)
    _say_videos("added", done.added)
    _say_videos("in the index already:", done.there)
    _say_size(open_index(place))


def remove(ids: Sequence[str], place: str | None) -> None:
    """Take videos out of an index.

    Raises:
        UserError: there is no index, or it never had such a video.
    """
    params = load_params_anywhere()
    place = place or index_place(params)
    removed = remove_videos(place, ids, params, say=print_line)
    _say_videos("removed", removed)
    _say_videos("removed before:", [video for video in dict.fromkeys(ids) if video not in removed])
    _say_size(open_index(place))


def _say_videos(what: str, ids: Sequence[str]) -> None:
    if ids:
        print(f"{what} {listed([printable(video) for video in ids], MOST_NAMED)}")


def _say_left_out(videos: Sequence[Video]) -> None:
    for video in videos:
        print(f"left out: /{printable(video.path)}: {printable(video.reason)}")


def _say_index(index: Index, videos: CodedVideos) -> None:
    how = index.snapshot().search
    print(
        f"{index.name}: {_videos(videos.videos)}, codes of {videos.bits} bits by {videos.hasher.name}, {how}"
    )


def _say_size(index: Index) -> None:
    print(f"{index.name}: {_videos(index.snapshot().videos)}")


def _videos(count: int) -> str:
    return f"{count} video{'' if count == 1 else 's'}"
