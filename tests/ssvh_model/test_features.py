from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "features.h5"
    write_feature_file(
        file,
        np.arange(5 * 3 * 2, dtype=np.float32).reshape(5, 3, 2),
        ids=["a", "b", "c", "d", "\u00e9"],
        labels=[("x",), ("x", "y"), (), ("y",), ("x",)],
        splits=["train", "train", "validation", "query", "database"],
        meta=FeatureMeta("net", "00ff", 160),
        groups=["g", "g", "", "", ""],
    )
    return file


def test_rows_and_their_description(path: Path) -> None:
    file = FeatureFile(path)
    assert file.shape == (5, 3, 2) and len(file) == 5
    assert file.ids[-1] == "\u00e9"
    assert file.labels == [("x",), ("x", "y"), (), ("y",), ("x",)]
    assert file.fine_labels == [()] * 5
    assert file.rows("train", "query").tolist() == [0, 1, 3]
    assert file.meta == FeatureMeta("net", "00ff", 160)
    assert file.frame_indices.tolist() == [[0, 1, 2]] * 5


def test_what_ran_the_network_is_told_and_was_torch_where_it_is_not(path: Path, tmp_path: Path) -> None:
    other = FeatureMeta("net", "00ff", 160, engine="openvino", precision="bfloat16")
    write_feature_file(
        tmp_path / "other.h5", np.zeros((1, 3, 2)), ids=["a"], labels=[()], splits=["train"], meta=other
    )
    assert FeatureFile(tmp_path / "other.h5").meta == other
    with h5py.File(path, "r+") as file:
        del file.attrs["engine"], file.attrs["precision"]
    assert FeatureFile(path).meta == FeatureMeta("net", "00ff", 160, engine="torch", precision="float32")


def test_what_a_model_of_one_s_own_wanted_is_told(tmp_path: Path) -> None:
    own = FeatureMeta(
        "mine.safetensors",
        "00ff",
        64,
        architecture="efficientnet_lite0",
        mean=(0.1, 0.2, 0.3),
        std=(1, 2, 3),
        colours="bgr",
    )
    write_feature_file(
        tmp_path / "own.h5", np.zeros((1, 3, 2)), ids=["a"], labels=[()], splits=["train"], meta=own
    )
    assert FeatureFile(tmp_path / "own.h5").meta == own
    assert own.model_file == "backbone.safetensors" and FeatureMeta("net", "00ff", 64).model_file == ""


@pytest.mark.parametrize("rows", [[0], [4, 0, 2], [1, 1, 3, 1], [2, 3, 4], []])
def test_any_order_and_repetition_of_rows(path: Path, rows: list[int]) -> None:
    everything = torch.arange(30, dtype=torch.float16).view(5, 3, 2)
    found = FeatureFile(path).read(rows)
    assert found.dtype == torch.float16
    assert torch.equal(found, everything[rows])


def test_a_file_crosses_processes_without_its_handle(path: Path) -> None:
    file = FeatureFile(path)
    file.read([0])
    assert torch.equal(pickle.loads(pickle.dumps(file)).read([3]), file.read([3]))


def without(name: str) -> Callable[[h5py.File], Any]:
    return lambda file: file.__delitem__(name)


def replaced(name: str, values: Any) -> Callable[[h5py.File], Any]:
    def replace(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return replace


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("splits"), "data set 'splits' is missing"),
        (replaced("ids", ["a"]), "'ids' has 1 rows, 'features' has 5"),
        (replaced("features", np.zeros((5, 6))), "allowed is .videos, frames, size."),
        (replaced("splits", ["train"] * 4 + ["exam"]), "split 'exam'; allowed are train"),
    ],
)
def test_a_file_of_another_form_is_one_clear_line(
    path: Path, damage: Callable[[h5py.File], Any], message: str
) -> None:
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(UserError, match=message):
        FeatureFile(path)


def test_what_is_no_feature_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such feature file"):
        FeatureFile(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        FeatureFile(tmp_path / "text.h5")
