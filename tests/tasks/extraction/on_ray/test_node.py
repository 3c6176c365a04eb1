"""What a node does, and what it does not do: here, without Ray."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from ssvh_model.manifest import Video
from ssvh_model.video.shard_extraction import ExtractionSettings
from tasks.extraction.chosen_backbone import BackboneChoice
from tasks.extraction.on_ray.node import NodeWork, extract, look, versions_of
from tests.ssvh_model.video.odd_videos import video_maker

VIDEO = Video(id="a", path="a.mp4")


@pytest.fixture
def work(tmp_path: Path) -> NodeWork:
    video_maker(tmp_path)("a.mp4", frames=6)
    backbone = BackboneChoice("efficientnet_lite0", 32, "torch", "float32", None)
    settings = ExtractionSettings(frames=2, batch_size=2, thumbnail=16)
    return NodeWork(str(tmp_path), backbone, "cpu", settings, versions_of(backbone.name, "torch"))


def test_it_extracts(work: NodeWork) -> None:
    network = look(work, threads=1)
    assert network.feature_size == 1280 and network.meta.engine == "torch"
    (found,) = extract(work, 1, [VIDEO])
    assert not isinstance(found, str)
    assert found.features.shape == (2, 1280) and found.total == 6


def test_it_has_no_such_folder(work: NodeWork, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^node .*: there is no folder {tmp_path}/none; every node needs the videos"
    ):
        extract(replace(work, videos=f"{tmp_path}/none"), 1, [VIDEO])


@pytest.mark.parametrize("name", ["ssvh_model", "torch", "efficientnet-lite-pytorch"])
def test_it_has_other_versions(work: NodeWork, name: str) -> None:
    other = replace(work, versions={**work.versions, name: "other"})
    with pytest.raises(
        UserError, match=rf"^node .*: {name} is {work.versions[name]}; allowed is other, as on the"
    ):
        extract(other, 1, [VIDEO])
