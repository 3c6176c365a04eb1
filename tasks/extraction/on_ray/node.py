"""What runs on the nodes of a Ray cluster: a shard of videos, extracted as this machine would.

Ray starts a process for it and gives it one task after the other; the backbone stays loaded between them.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureMeta
from ssvh_model.manifest import Video
from ssvh_model.video.backbones import Backbone, packages_of
from ssvh_model.video.places import place_of
from ssvh_model.video.shard_extraction import ExtractionSettings, ThreadExtractor
from ssvh_model.video.shards import Extracted
from tasks.extraction.chosen_backbone import BackboneChoice
from tasks.machine.device import pick_device
from tasks.on_ray.versions import check_versions, versions_here

# Other versions of these may give other bytes.
PACKAGES = ("av", "numpy", "pillow", "torch")


@dataclass(frozen=True)
class NodeWork:
    """What every task of an extraction needs.

    Attributes:
        videos: where the nodes find them, a folder or an address that fsspec reaches.
        backbone: what to load.
        device: where, as `running.device`.
        settings: what else features follow from.
        versions: what made the features must be the same everywhere, see `versions_of`.
    """

    videos: str
    backbone: BackboneChoice
    device: str
    settings: ExtractionSettings
    versions: Mapping[str, str]


@dataclass(frozen=True)
class NodeNetwork:
    """What is known of the backbone that a node has loaded."""

    meta: FeatureMeta
    feature_size: int


def versions_of(backbone: str, engine: str) -> dict[str, str]:
    """Versions of what may change a number, by name: the library's own code and the packages that it uses.

    Args:
        backbone: its name.
        engine: that runs it.
    """
    return versions_here((*PACKAGES, *packages_of(backbone, engine)))


def look(work: NodeWork, threads: int) -> NodeNetwork:
    """Load the backbone, with what is best here where that is left to the machine."""
    backbone = _load(work.backbone, work.device, threads)
    return NodeNetwork(backbone.meta, backbone.feature_size)


def extract(work: NodeWork, threads: int, videos: Sequence[Video]) -> list[Extracted | str]:
    """The videos of a shard: what was extracted, or the reason why nothing was.

    Raises:
        UserError: this node differs from the machine that drives the extraction in what changes numbers, or
            has no such folder.
    """
    check_versions(work.versions)
    place = place_of(work.videos)
    try:
        place.check()
    except UserError as error:
        raise type(error)(
            f"node {socket.gethostname()}: {error}; every node needs the videos there"
        ) from error
    backbone = _load(work.backbone, work.device, threads)
    extractor = ThreadExtractor(place, backbone, work.settings, threads)
    ((_, results),) = extractor.extract([(0, videos)], _nobody_watches)
    return results


def _nobody_watches(number: int, done: int) -> None:
    pass


@functools.lru_cache(maxsize=1)
def _load(choice: BackboneChoice, device: str, threads: int) -> Backbone:
    import torch

    torch.set_num_threads(threads)
    return choice.load(pick_device(device))
