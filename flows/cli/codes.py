"""The commands that use a hasher: encode, index, add, remove, search, duplicates, serve."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import typer

from ssvh_model.errors import UserError
from tasks import paths

Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        help="Folder of the index, or postgresql://user@host/database; SSVH_INDEX_URL or params.yaml (index.backend) have the default.",
    ),
]
Hasher = Annotated[
    str | None,
    typer.Option(
        help="Alias, version number, models:/<model>/<version>, or a folder written with a slash, of a hasher or an index; params.yaml (index.hasher) has the default."
    ),
]
Label = Annotated[
    str | None, typer.Option(help="Of all these videos; without it, the names of sub-folders count.")
]
# As in the library, whose modules take seconds to import.
Group = Literal["video", "none"]
Rerank = Literal["none", "soft", "features"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LEAST = "0.9"  # score of a pair of duplicates
Trust = Annotated[
    bool, typer.Option("--trust-torchscript", help="Run an image model that is TorchScript, a program.")
]


def encode(
    content: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Video files, folders of videos, or one feature file; without any, the project's feature file."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The HDF5 file to write.")] = Path("codes.h5"),
    hasher: Hasher = None,
    label: Label = None,
) -> None:
    """Write codes of videos: HDF5 with ids and packed codes."""
    from flows.commands.codes import encode as run

    run(content or [paths.FEATURE_FILE], out, hasher=hasher, label=label)


def index(
    content: Annotated[
        Path, typer.Argument(help="A codes file of `ssvh encode`, or a feature file.")
    ] = paths.FEATURE_FILE,
    place: Index = None,
    hasher: Hasher = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Keep the videos, those added and removed too, and encode them anew if the hasher is another now. A promotion does that.",
        ),
    ] = False,
) -> None:
    """Make the index that is searched, in the place of what is there.

    Searches meanwhile see the old one until the new one is whole.
    """
    from flows.commands.codes import make_index, refresh_index

    if refresh:
        refresh_index(place, hasher=hasher)
    else:
        make_index(content, place, hasher=hasher)


def add(
    videos: Annotated[list[Path], typer.Argument(help="Video files and folders of videos.")],
    place: Index = None,
    hasher: Annotated[
        str | None, typer.Option(help="Make sure that the index's codes are by this hasher.")
    ] = None,
    label: Label = None,
) -> None:
    """Add videos to the index; nothing else is encoded again."""
    from flows.commands.codes import add as run

    run(videos, place, hasher=hasher, label=label)


def remove(
    ids: Annotated[list[str], typer.Argument(help="Ids, as `ssvh search` prints them.")],
    place: Index = None,
) -> None:
    """Take videos out of the index."""
    from flows.commands.codes import remove as run

    run(ids, place)


def search(
    video: Annotated[
        Path | None, typer.Argument(help="The video to search for; or give --id or --code.")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Search for a video of the index, which is not found itself.")
    ] = None,
    start: Annotated[
        float, typer.Option(min=0, help="With --id: second of a film at which what is searched for begins.")
    ] = 0.0,
    code: Annotated[
        str | None,
        typer.Option(
            "--code", metavar="HEX", help="Search for a code of the index's hasher, in hexadecimal digits."
        ),
    ] = None,
    count: Annotated[int, typer.Option("-k", "--count", min=1, help="Videos to find.")] = 10,
    group: Annotated[
        Group, typer.Option(help="video: the best moment of each video. none: several of one, too.")
    ] = "video",
    rerank: Annotated[
        Rerank,
        typer.Option(
            help="soft: order what codes find by the query's soft code, before it is cut to bits, which tells more where codes are short. features: by its stored frame features, which also tell more exactly where a moment is."
        ),
    ] = "none",
    label: Annotated[
        list[str] | None,
        typer.Option(help="Find only videos with this label; several times for any of them."),
    ] = None,
    min_seconds: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Find only videos as long as this, or longer.")
    ] = None,
    max_seconds: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Find only videos as long as this, or shorter.")
    ] = None,
    max_distance: Annotated[
        str | None, typer.Option(metavar="BITS", help="Find only what differs by this many bits, or fewer.")
    ] = None,
    text: Annotated[
        str, typer.Option(help="Find only videos with this in their id, whatever the case.")
    ] = "",
    place: Index = None,
    as_json: Json = False,
    sheet: Annotated[Path | None, typer.Option(help="Draw the query and what was found, as PNG.")] = None,
    trust_torchscript: Trust = False,
) -> None:
    """Print the videos nearest to a video, and the moments in films, nearest first.

    Distances are differing bits.
    """
    from flows.commands.searching import search as run
    from ssvh_model.index.answer import Question
    from ssvh_model.index.filters import Filters, Wanted

    run(
        Question(video, id, start, code),
        place,
        Wanted(count, group, rerank),
        Filters.parse(label, min_seconds, max_seconds, max_distance, text),
        as_json=as_json,
        sheet=sheet,
        trust_torchscript=trust_torchscript,
    )


def duplicates(
    radius: Annotated[int, typer.Option(min=0, help="Bits by which near-duplicates may differ.")] = 3,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare the frames of what the codes propose, too, and keep what shows the same recording. A larger --radius then costs time, but few mistakes.",
        ),
    ] = False,
    least: Annotated[
        str | None,
        typer.Option(
            help="With --verify: the score from which on a pair counts, 0 to 1, or `decided`: what was decided on the page says which.",
            show_default=LEAST,
        ),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="With --verify: mirror images count, too; takes twice as long.")
    ] = False,
    place: Index = None,
    as_json: Json = False,
) -> None:
    """List groups of videos whose codes are nearly the same."""
    from flows.commands.duplicates import Verification
    from flows.commands.duplicates import duplicates as run

    for option, given in (("--least", least is not None), ("--mirrored", mirrored)):
        if given and not verify:
            raise UserError(f"{option} is given without --verify; it is about what --verify compares")
    verification = Verification(_least_score(least or LEAST), mirrored) if verify else None
    run(place, radius=radius, as_json=as_json, verification=verification)


def _least_score(text: str) -> float | None:
    """A number from 0 to 1, or None for `decided`."""
    if text == "decided":
        return None
    with contextlib.suppress(ValueError):
        if 0 <= (score := float(text)) <= 1:
            return score
    raise UserError(f"--least is {text!r}; allowed are numbers from 0 to 1, and decided")


def serve(
    place: Index = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine, SSVH_TOKEN must be set.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 200,
    seconds: Annotated[int, typer.Option(min=1, help="Longest video that is uploaded.")] = 1800,
    uploads: Annotated[int, typer.Option(min=1, help="Uploads that are worked on at once.")] = 2,
    decode_seconds: Annotated[int, typer.Option(min=1, help="Processor time to decode one video.")] = 60,
    decode_megabytes: Annotated[int, typer.Option(min=64, help="Memory to decode one video.")] = 1024,
    fetched_megabytes: Annotated[
        int, typer.Option(min=1, help="Disk for copies of videos that are in a bucket, while they are shown.")
    ] = 1000,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for an index, if there is none yet.")] = False,
    trust_torchscript: Trust = False,
) -> None:
    """Search, look around and review duplicates on a page, and by HTTP; ctrl-C ends it.

    A new version of the index is taken over at once.
    """
    from flows.commands.serve import serve as run
    from tasks.serving.limits import Limits

    limits = Limits(
        megabytes=megabytes,
        seconds=seconds,
        uploads=uploads,
        decode_seconds=decode_seconds,
        decode_megabytes=decode_megabytes,
        fetched_megabytes=fetched_megabytes,
    )
    run(place, host=host, port=port, limits=limits, wait=wait, trust_torchscript=trust_torchscript)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (encode, index, add, remove, search, duplicates, serve):
        app.command()(command)
