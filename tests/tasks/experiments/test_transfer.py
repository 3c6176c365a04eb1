from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from tasks.experiments.transfer import TRAINED_THERE, TRANSFERRED, Transfer, transfer
from tasks.experiments.transfer_report import keep_transfer, sentence, table
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.both_phases import train_rounds, train_warmup
from tasks.training.settings import training_session
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def params(folder: Path) -> Params:
    write_tiny_params(folder / "params.yaml", features__frames=6)
    return load_params(folder / "params.yaml")


def trained(params: Params, features: Path, folder: Path) -> Path:
    session = training_session(params, FeatureFile(features))
    warm = train_warmup(session, params, folder / "warmup", lambda row, seconds: None)
    return train_rounds(session, params, warm, folder, lambda row, seconds: None)


@pytest.fixture(scope="module")
def found(params: Params, folder: Path) -> Transfer:
    """A hasher of one corpus on another, whose own hasher stands beside it."""
    here, there = (
        write_tiny_features(folder / f"{name}.h5", seed=seed) for seed, name in ((1, "here"), (2, "there"))
    )
    states = [trained(params, path, folder / path.stem) for path in (here, there)]
    return transfer(params, states[0], there, states[1])


@pytest.mark.slow
def test_the_transferred_hasher_stands_beside_all_others_on_the_same_queries(found: Transfer) -> None:
    assert set(found.retrieval) == {TRANSFERRED, TRAINED_THERE, "float", "itq"} - (
        set() if "itq" in found.retrieval else {"itq"}
    )
    assert {one.n_query for one in found.retrieval.values()} == {20}
    assert found.retrieval[TRANSFERRED].n_database == 80
    assert TRANSFERRED not in found.differences and next(iter(found.differences)) == TRAINED_THERE
    for name, difference in found.differences.items():
        gmaps = found.retrieval[TRANSFERRED].gmap, found.retrieval[name].gmap
        assert (difference.gmap, difference.other_gmap) == pytest.approx(gmaps)
        assert difference.low <= difference.difference <= difference.high


def test_a_hasher_on_its_own_corpus_drops_by_nothing(params: Params, folder: Path, found: Transfer) -> None:
    state = sorted((folder / "there/round-2").glob("epoch-*"))[-1]
    same = transfer(params, state, folder / "there.h5", state)
    difference = same.differences[TRAINED_THERE]
    assert (difference.low, difference.difference, difference.high) == (0, 0, 0)
    assert same.retrieval[TRANSFERRED].gmap == found.retrieval[TRAINED_THERE].gmap
    assert "not told apart" in sentence(same)


def test_it_is_printed_kept_and_logged(
    found: Transfer, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    console = Console(width=130, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(found, 0.95))
    printed = console.export_text()
    for part in (TRANSFERRED, TRAINED_THERE, "float", "95 % interval"):
        assert part in printed
    assert TRAINED_THERE in sentence(found) and "there.h5" in sentence(found)

    path = keep_transfer(found, Path("states/round-2"), Path("other"), "")
    content = json.loads(path.read_text())
    assert content["retrievers"][TRANSFERRED]["gmap"] == found.retrieval[TRANSFERRED].gmap
    assert content["transferred_to"][TRAINED_THERE]["relative_low"] is not None
    from tasks.records.store import Store

    store = Store()
    (run,) = store.client.search_runs([store.experiment])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["gmap.transferred"] == found.retrieval[TRANSFERRED].gmap
    assert [one.path for one in store.client.list_artifacts(run.info.run_id)] == [path.name]


def test_features_of_another_size_or_length_are_one_clear_line(
    params: Params, folder: Path, found: Transfer, tmp_path: Path
) -> None:
    state = sorted((folder / "here/round-2").glob("epoch-*"))[-1]
    for shape, message in (
        ({"size": 10}, "frame features have 10 numbers; the hasher in"),
        ({"frames": 9}, "videos have 9 frames; the hasher in"),
    ):
        other = write_tiny_features(tmp_path / "other.h5", **shape)
        with pytest.raises(UserError, match=message) as caught:
            transfer(params, state, other, None)
        assert "\n" not in str(caught.value)
    assert "features.frames 6" in str(caught.value), "says how to mend it"
    with pytest.raises(UserError, match="no such folder"):
        transfer(params, tmp_path / "none", folder / "there.h5", None)


def test_another_length_of_codes_and_other_backbones_are_said(
    params: Params, folder: Path, found: Transfer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = with_changes(params, {"model.bits": 8}, where="")
    state = trained(short, folder / "here.h5", tmp_path / "short")
    there = sorted((folder / "there/round-2").glob("epoch-*"))[-1]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/features").mkdir(parents=True)
    home = write_tiny_features(tmp_path / "data/features/features.h5")
    import h5py

    with h5py.File(home, "a") as file:
        file.attrs["backbone"] = "another"
    mixed = transfer(params, state, folder / "there.h5", there)
    said = " ".join(mixed.remarks)
    assert "transferred 8, trained there 16 bits" in said and "features of different networks" in said
    assert mixed.bits == {TRANSFERRED: 8, TRAINED_THERE: 16, "float": None, "itq": 8}
    assert np.isfinite(mixed.differences[TRAINED_THERE].difference)
