from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.model.grade_net import GradeNet
from ssvh_model.model.hasher_file import (
    DESCRIPTION,
    GRADE_NET,
    WEIGHTS,
    hasher_digest,
    hasher_files,
    load_grade_net,
    load_saved_hasher,
    save_hasher,
)
from tests.conftest import REPOSITORY
from tests.hashers import META, write_hasher


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_hasher(tmp_path / "hasher")


def change(folder: Path, **values: Any) -> None:
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    description["hasher"].update(values)
    path.write_text(json.dumps(description))


def test_a_hasher_survives_its_files(folder: Path, tmp_path: Path) -> None:
    hasher, features = load_saved_hasher(folder)
    assert features == META and not hasher.training
    again, _ = load_saved_hasher(write_hasher(tmp_path / "again"))
    video = torch.randn(3, 4, 6)
    assert torch.equal(hasher.codes(video), again.codes(video))
    assert hasher_digest(folder) == hasher_digest(tmp_path / "again")


def test_the_sampler_s_network_goes_with_it_and_codes_do_without(folder: Path) -> None:
    hasher, features = load_saved_hasher(folder)
    assert load_grade_net(folder, hasher) is None and len(hasher_files(folder)) == 2
    before, kept = hasher_digest(folder), GradeNet(hasher.config.width)
    save_hasher(folder, hasher, features, grade_net=kept)
    assert hasher_digest(folder) == before
    assert folder / GRADE_NET in hasher_files(folder)
    found = load_grade_net(folder, hasher)
    embedded = torch.randn(2, 4, hasher.config.width)
    assert found is not None and torch.equal(found(embedded), kept(embedded))
    for damage in (b"", b"nothing", (folder / WEIGHTS).read_bytes()):
        (folder / GRADE_NET).write_bytes(damage)
        assert load_grade_net(folder, hasher) is None
    save_hasher(folder, hasher, features)
    assert not (folder / GRADE_NET).exists()


@pytest.mark.parametrize("name", ["training_bits", "precision", "encoder"])
def test_a_hasher_from_before_there_was_such_a_key_is_read(folder: Path, name: str) -> None:
    wanted, _ = load_saved_hasher(folder)
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    del description["hasher"][name]
    path.write_text(json.dumps(description))
    found, _ = load_saved_hasher(folder)
    assert found.config == wanted.config


def test_any_change_changes_the_digest(folder: Path, tmp_path: Path) -> None:
    before = hasher_digest(folder)
    assert hasher_digest(write_hasher(tmp_path / "other", seed=2)) != before
    change(folder, pooling="votes")
    assert hasher_digest(folder) != before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 10**7}, "the description asks for"),
        ({"bits": 10**12}, "the description asks for"),
        ({"layers": 10**9}, "layers is 1000000000"),
        ({"layers": 2}, "encoder.blocks.1"),
        ({"frames": 10**12}, "frames is 1000000000000"),
        ({"mlp_ratio": 1e9}, "the description asks for"),
        ({"heads": 10**6}, "heads is 1000000"),
        ({"heads": 0}, "heads is 0"),
        ({"training_bits": 10**12}, "the description asks for"),
        ({"training_bits": 16}, "compression.projection"),
        ({"bits": "many"}, "not a readable hasher"),
        ({"precision": "float8"}, "precision is 'float8'; allowed are float32 and bfloat16"),
        ({"precision": ["float32"]}, "not a readable hasher"),
        ({"encoder": "recurrent"}, "encoder is 'recurrent'; allowed are transformer and state_space"),
        ({"encoder": "state_space", "width": 16}, "the description asks for"),
        ({"more": 1}, "not a readable hasher"),
    ],
)
def test_a_description_that_does_not_fit_is_one_line(folder: Path, values: Any, message: str) -> None:
    change(folder, **values)
    with pytest.raises(UserError, match=message) as caught:
        load_saved_hasher(folder)
    assert "\n" not in str(caught.value)


def test_an_absurd_description_asks_for_no_memory(folder: Path) -> None:
    change(folder, width=200_000, mlp_ratio=4.0)  # 640 gigabytes
    program = """
import resource, sys
from pathlib import Path
from ssvh_model.errors import UserError
from ssvh_model.model.hasher_file import load_saved_hasher
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
try:
    load_saved_hasher(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "the description asks for" in result.stdout


class Executes:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("kind", ["pickle", "torch", "truncated", "huge header", "huge tensor", "empty"])
def test_weights_that_are_none_execute_nothing(folder: Path, tmp_path: Path, kind: str) -> None:
    mark, path = tmp_path / "executed", folder / WEIGHTS
    whole = path.read_bytes()
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Executes(mark)))
    elif kind == "torch":
        torch.save(Executes(mark), path)
    elif kind == "truncated":
        path.write_bytes(whole[:-10])
    elif kind == "huge header":
        path.write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    elif kind == "huge tensor":
        header = json.dumps(
            {"embedding.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
        )
        path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    else:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="not a readable hasher"):
        load_saved_hasher(folder)
    assert not mark.exists()
