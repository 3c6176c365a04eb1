from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import io, sparse

from ssvh_model.corpus.mat_labels import read_mat_labels
from ssvh_model.errors import UserError

TABLE = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0]])
LABELS = [("0",), ("1", "2"), (), ("2",), ("0",)]


def read(path: Path) -> list[tuple[str, ...]]:
    return read_mat_labels(path, "labels", videos=5, features=Path("some_feats.h5"))


@pytest.mark.parametrize(
    "table",
    [TABLE, TABLE.astype(np.uint8), TABLE.astype(float), TABLE.astype(bool), sparse.csc_matrix(TABLE * 1.0)],
)
def test_one_hot_and_multi_hot_rows_of_any_number_type(tmp_path: Path, table: Any) -> None:
    io.savemat(tmp_path / "labels.mat", {"labels": table})
    assert read(tmp_path / "labels.mat") == LABELS


def test_version_7_3_which_counts_columns_first(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "labels.mat", "w", userblock_size=512) as file:
        file["labels"] = TABLE.T.astype(np.float64)
    assert read(tmp_path / "labels.mat") == LABELS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"re_label": TABLE}, "variable 'labels' is missing; there is re_label"),
        ({"labels": TABLE[:4]}, "'labels' has 4 rows, but some_feats.h5 has 5 videos"),
        ({"labels": TABLE * 3.0}, "'labels', row 0, column 0: 3; allowed are 0 and 1"),
        ({"labels": TABLE * np.nan}, "'labels', row 0, column 0: nan; allowed are 0 and 1"),
        ({"labels": "text"}, "allowed is [videos, classes] of numbers"),
        ({"labels": np.ones((5, 3, 1, 2))}, "'labels' has shape [5, 3, 1, 2]"),
    ],
)
def test_another_form_is_one_clear_line(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    io.savemat(tmp_path / "labels.mat", content)
    with pytest.raises(UserError) as caught:
        read(tmp_path / "labels.mat")
    assert str(caught.value).startswith(str(tmp_path / "labels.mat"))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_sparse_matrix_of_version_7_3_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "labels.mat", "w") as file:
        file["labels/data"] = [1.0]
    with pytest.raises(UserError, match="is sparse or a structure"):
        read(tmp_path / "labels.mat")


@pytest.mark.parametrize("content", [b"", b"no MATLAB file" * 50])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.mat").write_bytes(content)
    with pytest.raises(UserError, match="not a readable MATLAB file"):
        read(tmp_path / "labels.mat")
