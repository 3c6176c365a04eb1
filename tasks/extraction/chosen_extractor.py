"""Opening an extraction where `running.extraction` says: with threads of this process, or on a Ray
cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.manifest import Video
from tasks import paths
from tasks.extraction.chosen_backbone import chosen_backbone
from tasks.machine.device import pick_workers
from tasks.params.sections import Params

if TYPE_CHECKING:
    from ssvh_model.video.extraction import Extraction, Extractor


@contextmanager
def open_extraction(
    params: Params, videos: Sequence[Video], folder: Path, say: Callable[[str], None]
) -> Iterator[tuple[Extraction, Extractor]]:
    """The extraction of videos of the corpus, and what does its work until the block ends.

    Args:
        params: sections corpus and features, and how they are run.
        videos: with paths relative to the corpus's folder.
        folder: where the files go.
        say: takes a line.

    Raises:
        UserError: no video is usable, the backbone can't be loaded, or there is no such cluster.
    """
    from ssvh_model.video.extraction import Extraction
    from ssvh_model.video.places import place_of
    from ssvh_model.video.shard_extraction import ExtractionSettings, ThreadExtractor

    root = paths.video_root(params.corpus.source, params.corpus.path)
    features, running = params.features, params.running
    settings = ExtractionSettings(features.frames, features.batch_size, features.thumbnail)
    if running.extraction == "ray":
        from tasks.extraction.on_ray.extractor import ray_extractor

        with ray_extractor(params, root, settings, say) as cluster:
            yield Extraction(videos, root, cluster.network, settings, folder=folder), cluster
        return
    backbone = chosen_backbone(params)
    threads = ThreadExtractor(place_of(root), backbone, settings, pick_workers(running.workers))
    yield Extraction(videos, root, backbone, settings, folder=folder), threads
