from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ssvh_model.errors import UserError
from ssvh_model.model.hasher_file import DESCRIPTION, WEIGHTS
from tasks.registry.find_hasher import PLACE_IN_MODEL, find_hasher, local_hasher
from tests.hashers import register_hasher, write_hasher


@pytest.fixture
def registry(project: Path, empty_mlflow: Path) -> Any:
    """Two versions, the second the challenger."""
    from mlflow import MlflowClient

    shutil.copy(empty_mlflow, project / "mlflow.db")
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    for _ in range(2):
        number = register_hasher(client, project / "artifacts")
    client.set_registered_model_alias("video-hasher", "challenger", number)
    return client


def test_every_name_of_a_version_leads_to_its_files(registry: Any, project: Path) -> None:
    second = {
        find_hasher(name, model="video-hasher")
        for name in ("challenger", "2", "models:/video-hasher@challenger", "models:/video-hasher/2")
    }
    assert len(second) == 1
    source = second.pop()
    assert (source.model, source.version, source.name) == ("video-hasher", "2", "video-hasher version 2")
    assert source.folder == project / "artifacts/video-hasher-2" / PLACE_IN_MODEL
    first = find_hasher("1", model="video-hasher")
    assert first.sha256 != source.sha256, "other weights have another hash"
    assert source.load()[0].config.bits == 16


def test_a_folder_or_a_file_in_it(project: Path) -> None:
    folder = write_hasher(project / "some/hasher")
    found = [
        find_hasher(name, model="")
        for name in ("some/hasher", f"./some/hasher/{WEIGHTS}", f"some/hasher/{DESCRIPTION}")
    ]
    assert {source.sha256 for source in found} == {local_hasher(folder).sha256}
    assert found[0].model == found[0].version == ""


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_changed_files_are_refused(registry: Any, project: Path, name: str) -> None:
    path = project / "artifacts/video-hasher-2" / PLACE_IN_MODEL / name
    content = path.read_bytes()
    # such as another pooling, with the weights untouched
    path.write_bytes(
        content.replace(b'"values"', b'"votes"') if name == DESCRIPTION else content[:-1] + b"\7"
    )
    with pytest.raises(UserError, match=r"version 2: its files in .* changed or damaged"):
        find_hasher("challenger", model="video-hasher")
    assert find_hasher("1", model="video-hasher").version == "1"


def test_files_that_are_gone(registry: Any, project: Path) -> None:
    shutil.rmtree(project / "artifacts/video-hasher-2/artifacts")
    with pytest.raises(UserError, match="video-hasher version 2: its files are gone"):
        find_hasher("2", model="video-hasher")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "champion",
            "video-hasher has no alias 'champion'; allowed are challenger and the versions 1, 2; `ssvh promote`",
        ),
        ("7", "video-hasher has no version 7; allowed are challenger and the versions 1, 2"),
        ("models:/other/1", "no model 'other' is registered"),
        ("models:/video-hasher", "names no hasher; allowed is an alias"),
        ("./nothing", "holds no hasher; allowed is an alias"),
        ("", "the hasher's name is empty"),
    ],
)
def test_what_is_not_there_is_one_line(registry: Any, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        find_hasher(name, model="video-hasher")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_no_store_is_made_by_looking(project: Path) -> None:
    with pytest.raises(UserError, match="no hasher has been registered"):
        find_hasher("champion", model="video-hasher")
    assert not (project / "mlflow.db").exists()
