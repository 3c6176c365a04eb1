"""Codes by a Ray cluster are those of this machine, whatever is lost on the way."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, write_feature_file
from ssvh_model.model.hasher_file import hasher_digest
from ssvh_model.progress import no_progress
from tasks.index import on_ray
from tasks.index.encode import encode_features
from tasks.on_ray.versions import versions_here
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.registry.find_hasher import HasherSource
from tests.conftest import REPOSITORY
from tests.hashers import META, write_hasher
from tests.tasks.on_ray.nodes import NodesOnThisMachine

FRAMES, SIZE, VIDEOS = 4, 6, 1000


def hasher(folder: Path) -> HasherSource:
    written = write_hasher(folder / "hasher", bits=32, frames=FRAMES, feature_size=SIZE)
    return HasherSource(written, "", "", hasher_digest(written), "")


def settings(**changes: Any) -> Params:
    given = {"running.workers": 1, "running.device": "cpu", "index.batch_size": 16}
    return with_changes(load_params(REPOSITORY / "params.yaml"), {**given, **changes}, where="test")


def test_a_node_encodes_and_refuses_other_versions(tmp_path: Path) -> None:
    network, _ = hasher(tmp_path).load()
    features = np.random.default_rng(0).normal(size=(5, FRAMES, SIZE)).astype(np.float16)
    own = on_ray.Encoding(network, "cpu", 1, 2, versions_here(on_ray.PACKAGES))
    soft = on_ray.encode(own, features)
    assert soft.shape == (5, 32) and soft.dtype == np.float32
    other = on_ray.Encoding(network, "cpu", 1, 2, {**own.versions, "torch": "other"})
    with pytest.raises(
        UserError, match=r"^node .*: torch is .*; allowed is other, as on the machine that drives"
    ):
        on_ray.encode(other, features)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    find_spec("ray") is None, reason="needs the optional extra ray; `make test-ray` installs it"
)
def test_codes_are_those_of_this_machine_also_where_a_node_is_lost(
    cluster: NodesOnThisMachine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = hasher(tmp_path)
    write_feature_file(
        tmp_path / "features.h5",
        np.random.default_rng(0).normal(size=(VIDEOS, FRAMES, SIZE)),
        ids=[str(row) for row in range(VIDEOS)],
        labels=[()] * VIDEOS,
        splits=["train"] * VIDEOS,
        meta=META,
    )
    file, local = FeatureFile(tmp_path / "features.h5"), settings()
    torch.set_num_threads(1)
    expected = encode_features(file, source, local, progress=no_progress)

    monkeypatch.setattr(on_ray, "LEAST_VIDEOS", VIDEOS)
    monkeypatch.setattr(on_ray, "BYTES_AT_ONCE", 16 * FRAMES * SIZE * 2)  # a batch each
    remote = settings(**{"running.extraction": "ray", "running.ray.address": cluster.address})
    counted: list[int] = []

    def watched(done: int, total: int) -> None:
        if not counted:
            cluster.kill_node()
        counted.append(done)

    found = encode_features(file, source, remote, progress=watched)
    assert counted[-1] == VIDEOS and len(counted) == -(-VIDEOS // 16)
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert "room for 2 batches of videos at a time, 1 CPU each" in capsys.readouterr().out

    few = encode_features(file, source, remote, rows=np.arange(VIDEOS - 1), progress=no_progress)
    np.testing.assert_array_equal(few.codes, expected.codes[:-1])
    assert "Ray" not in capsys.readouterr().out, "few are encoded here"
