from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ssvh_model.corpus.other_features import as_feature_file, hold_out_validation
from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from tasks.experiments.videos import find_corpus, open_corpus
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import FRAMES, SIZE, features, write_tiny_features


@pytest.fixture
def params() -> Params:
    return load_params(REPOSITORY / "params.yaml")


def foreign(path: Path, **changed: Any) -> Path:
    """A file of another form: 80 videos and 20 queries; a data set that is None is left out."""
    content: dict[str, Any] = {
        "features": features(100).astype(np.float16),
        "labels": np.arange(100) % 5,
        "is_query": np.arange(100) >= 80,
        "block": np.arange(100) // 10,
        **changed,
    }
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            if values is not None:
                file[name] = values
    return path


def test_a_file_of_our_form_is_used_as_it_is(tmp_path: Path) -> None:
    path = write_tiny_features(tmp_path / "own.h5")
    file = as_feature_file(path, tmp_path / "other")
    assert file.path == path and not (tmp_path / "other").exists()
    assert not hold_out_validation(file, share=0.1, seed=1)


def test_another_form_is_translated(tmp_path: Path) -> None:
    file = as_feature_file(foreign(tmp_path / "f.h5"), tmp_path / "made")
    assert file.splits == ["train"] * 80 + ["query"] * 20
    assert file.labels[7] == ("2",) and file.groups[79] == "7"
    np.testing.assert_array_equal(file.read([3, 99]).numpy(), features(100)[[3, 99]].astype(np.float16))


def test_validation_videos_are_held_out_by_recording_and_never_queries(
    tmp_path: Path,
) -> None:
    def held_out(seed: int, share: float = 0.1, groups: tuple[str, ...] = ()) -> tuple[FeatureFile, set[str]]:
        file = as_feature_file(foreign(tmp_path / "f.h5"), tmp_path / "made")
        assert hold_out_validation(file, share=share, groups=groups, seed=seed)
        return file, {file.groups[row] for row in file.rows("validation")}

    file, groups = held_out(1)
    assert file.splits[80:] == ["query"] * 20
    assert not groups & {file.groups[row] for row in file.rows("train")}
    assert 5 <= len(file.rows("validation")) <= 20
    assert held_out(1)[1] == groups, "the same seed, the same videos"
    _, named = held_out(1, groups=("6", "7"))
    assert named == {"6", "7"}
    with pytest.raises(UserError, match="allowed is above 0"):
        held_out(1, share=0.0)


def test_a_corpus_is_the_same_in_every_process_and_has_its_own_digest(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = foreign(tmp_path / "f.h5")
    for_validation, fitted = find_corpus(path, params, "validation")
    assert fitted.features.frames == 6, (
        "what params.yaml says of the pipeline's own videos does not hold here"
    )
    first, second = (open_corpus(for_validation, with_changes(fitted, {"seed": 9}, where="")) for _ in "12")
    assert first.splits == second.splits and "validation" in first.splits
    for_query, _ = find_corpus(path, params, "query")
    assert "validation" not in open_corpus(for_query, fitted).splits
    assert for_query.digest != for_validation.digest


def test_the_digest_tells_when_a_file_that_is_referred_to_changes(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_tiny_features(tmp_path / "f.h5")
    with h5py.File(tmp_path / "there.h5", "w") as source:
        source["feats"] = features(100).astype(np.float32)
    layout = h5py.VirtualLayout((100, FRAMES, SIZE), dtype=np.float32)
    layout[:] = h5py.VirtualSource("there.h5", "feats", (100, FRAMES, SIZE))
    with h5py.File(path, "a") as file:
        del file["features"]
        file.create_virtual_dataset("features", layout)
    before, _ = find_corpus(path, params, "validation")
    assert find_corpus(path, params, "validation")[0].digest == before.digest
    with h5py.File(tmp_path / "there.h5", "a") as source:
        source["feats"][0] = 0
    assert find_corpus(path, params, "validation")[0].digest != before.digest


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"is_query": None}, "data set 'is_query' is missing; needed are features, labels, is_query"),
        ({"labels": np.arange(99)}, "'labels' has 99 rows, 'features' has 100"),
        ({"is_query": np.zeros(100, dtype=bool)}, "there are no query videos"),
    ],
)
def test_a_wrong_file_is_one_line(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        find_corpus(foreign(tmp_path / "f.h5", **changed), params, "query")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_and_no_hdf5(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such feature file"):
        as_feature_file(tmp_path / "none.h5", tmp_path)
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        as_feature_file(tmp_path / "text.h5", tmp_path)
