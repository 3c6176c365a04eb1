"""Making shards of features beside other processes, before or while the stage `features` runs, which then finds them.

All work in the stage's work folder, on this machine or, where the project's folder is on a shared file system, on several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.manifest import read_manifest
from tasks import paths
from tasks.extraction.chosen_backbone import chosen_backbone
from tasks.extraction.earlier import earlier_features
from tasks.machine.device import pick_workers
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params
from tasks.params.reading import read_yaml
from tasks.params.sections import Params
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.work import open_work, use_work
from tasks.project.code import check_code_file

if TYPE_CHECKING:
    from pathlib import Path

    from ssvh_model.video.extraction import Extraction

STAGE = "features"


@dataclass(frozen=True)
class Share:
    """What one process did: shards made here, shards that are finished now by whomever, and all there are."""

    made: int
    finished: int
    total: int


def open_extraction(params: Params, folder: Path) -> Extraction:
    """The extraction of the pipeline's corpus, whose files go to `folder`."""
    from ssvh_model.video.extraction import Extraction

    features, corpus = params.features, params.corpus
    return Extraction(
        read_manifest(paths.CORPUS_MANIFEST),
        paths.video_root(corpus.source, corpus.path),
        chosen_backbone(params),
        frames=features.frames,
        batch_size=features.batch_size,
        thumbnail=features.thumbnail,
        folder=folder,
    )


def extract_share(say: Callable[[str], None]) -> Share:
    """Make shards until each is finished or being made by another process.

    Raises:
        UserError: params.yaml, the corpus, or features that are published and not extracted.
    """
    params = load_params(paths.PARAMS)
    if params.corpus.source == "published":
        raise UserError(
            f"{paths.PARAMS}: corpus.source is 'published'; only features of videos are extracted"
        )
    definition = next(one for one in read_definitions() if one.name == STAGE)
    check_code_file(definition)
    use_work()
    work = open_work(definition, read_yaml(paths.PARAMS))
    extraction = open_extraction(params, work.folder / STAGE)
    made = extraction.make(
        workers=pick_workers(params.running.workers),
        progress=ShownProgress("videos", say),
        earlier=earlier_features(),
        wait=False,
    )
    share = Share(len(made), extraction.finished, len(extraction))
    say(f"{share.made} shards made here; {share.finished} of {share.total} are finished")
    return share
