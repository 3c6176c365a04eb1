"""Making shards of features beside other processes, before or while the stage `features` runs, which then
finds them.

All work in the stage's work folder, with locks on files of it; they are for processes of one machine
(tasks/extraction/on_ray has others).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ssvh_model.errors import UserError
from ssvh_model.manifest import read_manifest
from tasks import paths
from tasks.extraction.chosen_extractor import open_extraction
from tasks.extraction.earlier import earlier_features
from tasks.machine.progress import ShownProgress
from tasks.params.load import load_params
from tasks.params.reading import read_yaml
from tasks.pipeline.definition import read_definitions
from tasks.pipeline.work import open_work, use_work
from tasks.project.code import check_code_file

STAGE = "features"


@dataclass(frozen=True)
class Share:
    """What one process did: shards made here, shards that are finished now by whomever, and all there are."""

    made: int
    finished: int
    total: int


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
    videos = read_manifest(paths.CORPUS_MANIFEST)
    with open_extraction(params, videos, work.folder / STAGE, say) as (extraction, extractor):
        made = extraction.make(
            extractor, progress=ShownProgress("videos", say), earlier=earlier_features(), wait=False
        )
    share = Share(len(made), extraction.finished, len(extraction))
    say(f"{share.made} shards made here; {share.finished} of {share.total} are finished")
    return share
