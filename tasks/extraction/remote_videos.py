"""Videos that are no folder of this machine, but where fsspec reaches them, such as s3://bucket/videos."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.files import is_address
from ssvh_model.remote_folder import RemoteFolder, StorageAway
from tasks import paths
from tasks.machine.errors import ServiceAway
from tasks.params.reading import corpus_path, read_yaml
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.open_stage import definition_of
from tasks.pipeline.work import work_key

if TYPE_CHECKING:
    from ssvh_model.corpus.looked_at import LookedAt
    from ssvh_model.video.places import VideoPlace

LOOKED_AT = paths.WORK / "looked-at"
STAGE = "corpus"  # that looks into the videos


def check_remote_videos() -> None:
    """Make sure that the address of the videos can be looked at, if `corpus.path` is one: DVC, which lists
    it, would say less.

    Raises:
        UserError: there is no such folder, the package of its storage is missing, or nobody has told who
            asks.
        ServiceAway: it does not answer.
    """
    address = corpus_path()
    if not is_address(address):
        return
    try:
        RemoteFolder(address.rstrip("/")).check()
    except StorageAway as error:
        raise ServiceAway(f"{paths.PARAMS}: corpus.path: {error}") from error
    except UserError as error:
        raise UserError(f"{paths.PARAMS}: corpus.path: {error}") from error


def notes_on_videos(place: VideoPlace) -> LookedAt | None:
    """The notes on a bucket's videos, of the present address and code; None for a folder of this machine.
    They outlive the stage that makes them: what has not changed is not fetched again.

    Those of other addresses and codes are removed.
    """
    from ssvh_model.corpus.looked_at import LookedAt
    from ssvh_model.video.places import RemotePlace

    if not isinstance(place, RemotePlace):
        return None
    definition = definition_of(read_definitions(), STAGE)
    key = work_key(replace(definition, parameters=("corpus.path",), addresses=()), read_yaml(paths.PARAMS))
    notes = LOOKED_AT / f"{key}.jsonl"
    for other in LOOKED_AT.glob("*.jsonl"):
        if other != notes:
            other.unlink(missing_ok=True)
    return LookedAt(notes, place.folder.stamps)
