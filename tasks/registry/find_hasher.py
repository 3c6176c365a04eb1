"""Where a hasher comes from: a version in MLflow's registry, or a folder on this machine."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ssvh_model.errors import UserError
from ssvh_model.index.index import Index, IndexSnapshot, open_index
from ssvh_model.index.snapshot import POINTER, open_hasher, read_card
from ssvh_model.model.hasher_file import (
    DESCRIPTION,
    WEIGHTS,
    hasher_digest,
    hasher_files,
    load_saved_hasher,
    read_carried_model,
)
from tasks import paths
from tasks.machine.services import without_passwords
from tasks.pipeline.work import use_work
from tasks.records.tags import HASH_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from ssvh_model.features import FeatureMeta
    from ssvh_model.index.snapshot import OpenHasher
    from ssvh_model.model.hasher import VideoHasher

PLACE_IN_MODEL = "artifacts/hasher"  # the hasher's folder within a logged model
ALLOWED = (
    "an alias such as champion, a version number, models:/<model>@<alias>, models:/<model>/<version>, "
    f"or a folder with {WEIGHTS} and {DESCRIPTION}, or with an index"
)


@dataclass(frozen=True)
class HasherSource:
    """A hasher whose files are on this machine and are what they should be.

    Attributes:
        folder: with `hasher.safetensors` and `hasher.json`, and the image model if that is the user's own;
            nothing else is ever read of a model, and nothing of it is executed but TorchScript that is
            trusted.
        model: registered name; "" for a local folder.
        version: number as text; "" for a local folder.
        sha256: hex digest of the two files (`hasher_digest`).
        card: its model card, Markdown; "" if it has none.
        loaded: what `load` gives where the files are read already, because they may go at any time.
    """

    folder: Path
    model: str
    version: str
    sha256: str
    card: str = field(default="", repr=False, compare=False)
    loaded: OpenHasher | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """For a person: "video-hasher version 3", or the folder."""
        return f"{self.model} version {self.version}" if self.model else str(self.folder)

    def load(self) -> tuple[VideoHasher, FeatureMeta]:
        """The hasher in evaluation mode on the CPU, and what its features must be."""
        return self.loaded[:2] if self.loaded else load_saved_hasher(self.folder)

    def image_model(self, features: FeatureMeta) -> bytes | None:
        """The file of the user's image model that made the hasher's features; None if a package has their
        backbone, or if it is gone.
        """
        return self.loaded.model if self.loaded else read_carried_model(self.folder, features)


def find_hasher(what: str, *, model: str) -> HasherSource:
    """Look a hasher up.

    Args:
        what: an alias ("champion"), a version number ("3"), "models:/<model>@<alias>",
            "models:/<model>/<version>", a folder, or one of the two files in it. A folder of that name wins
            over an alias only if it is written as a path, with a slash. That of an index stands for the
            hasher that made its codes.
        model: the registered model that a bare alias or number belongs to.

    Raises:
        UserError: there is no such hasher, MLflow is away, the version's files are gone, or they do not match
            the hash that the version was registered with.
    """
    path = Path(what)
    if path.name in (WEIGHTS, DESCRIPTION):
        path = path.parent
    if (os.sep in what or what == ".") and not what.startswith("models:"):
        return local_hasher(path)
    name, alias, version = _parsed(what, model)
    client = _client()
    found = _version(client, name, alias, version)
    folder = _files(client, name, found.version)
    card = found.description or ""
    source = HasherSource(folder, name, str(found.version), _digest(folder), card)
    expected = found.tags.get(HASH_TAG)
    if expected and expected != source.sha256:
        raise UserError(
            f"{source.name}: its files in {folder} have the hash {source.sha256[:12]}; "
            f"it was registered with {expected[:12]}, so they were changed or damaged"
        )
    return source


def local_hasher(folder: Path) -> HasherSource:
    """The hasher in a folder, or that of the index in it.

    Raises:
        UserError: the folder has none.
    """
    if (folder / POINTER).is_file():
        return hasher_of_index(open_index(folder))
    if not (folder / WEIGHTS).is_file() or not (folder / DESCRIPTION).is_file():
        raise UserError(f"{folder}: holds no hasher; allowed is {ALLOWED}")
    return HasherSource(folder, "", "", _digest(folder), read_card(folder))


def hasher_of_index(index: Index) -> HasherSource:
    """The index's copy of the hasher that made its codes, loaded: the index may have another one the next
    moment.

    Raises:
        UserError: there is no index, or the copy is not what it was.
    """

    def load(snapshot: IndexSnapshot, hasher: Path) -> HasherSource:
        made = snapshot.hasher
        card = read_card(hasher)
        return HasherSource(
            hasher, made.model, made.version, made.sha256, card, loaded=open_hasher(hasher, made)
        )

    return index.load(load)


def _digest(folder: Path) -> str:
    try:
        return hasher_digest(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: not a readable hasher ({error.strerror or error}: {error.filename})"
        ) from error


def _parsed(what: str, model: str) -> tuple[str, str, str]:
    """The registered model's name, and either an alias or a version number."""
    if not what.startswith("models:"):
        if not what:
            raise UserError(f"the hasher's name is empty; allowed is {ALLOWED}")
        return (model, "", what) if what.isdigit() else (model, what, "")
    name, at, alias = what.removeprefix("models:").strip("/").partition("@")
    if at and name and alias and "/" not in what.removeprefix("models:").strip("/"):
        return name, alias, ""
    name, slash, version = what.removeprefix("models:").strip("/").partition("/")
    if slash and name and version.isdigit():
        return name, "", version
    raise UserError(f"{what!r} names no hasher; allowed is {ALLOWED}")


def _client() -> MlflowClient:
    from tasks.records.store import reported, tracking_uri

    uri = tracking_uri()
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise UserError(
            f"no hasher has been registered: {uri.removeprefix('sqlite:///')} is not there; `ssvh run` in a project makes and "
            "registers one, --hasher can name a folder instead"
        )
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with reported(uri):
        from mlflow import MlflowClient

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _version(client: MlflowClient, name: str, alias: str, version: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise _away(error) from error
        raise UserError(_nothing_there(client, name, alias, version)) from error


def _nothing_there(client: MlflowClient, name: str, alias: str, version: str) -> str:
    """What was asked for, and what there is."""
    wanted = f"alias {alias!r}" if alias else f"version {version}"
    try:
        aliases = client.get_registered_model(name).aliases
        versions = sorted(int(one.version) for one in client.search_model_versions(f"name = '{name}'"))
    except Exception:  # MLflow raises many kinds; here they all mean that nothing is known of the model
        return f"no model {name!r} is registered; `make run` registers one"
    hint = "; `ssvh promote` makes the first champion" if alias == "champion" else ""
    return (
        f"{name} has no {wanted}; allowed are {', '.join(sorted(aliases)) or 'no aliases'} "
        f"and the versions {', '.join(map(str, versions)) or '(none)'}{hint}"
    )


def _files(client: MlflowClient, name: str, version: str) -> Path:
    """The version's hasher folder: where it is if that is on this machine, or a copy in `.work/hashers`."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from tasks.records.store import tracking_uri

    gone = f"{name} version {version}: its files are gone"
    try:
        location = client.get_model_version_download_uri(name, version)
        repository = get_artifact_repository(location, tracking_uri=tracking_uri())
        if (local := getattr(repository, "artifact_dir", None)) is not None:
            folder = Path(local) / PLACE_IN_MODEL
            if not folder.is_dir():
                raise UserError(f"{gone} ({folder} is not there)")
            return folder
        return _download(repository, f"{name}-{version}", gone)
    except UserError:
        raise
    except (MlflowException, OSError) as error:
        raise UserError(f"{gone} or can't be read ({' '.join(str(error).split())[:200]})") from error


def _download(repository: ArtifactRepository, name: str, gone: str) -> Path:
    """A whole copy or none, made anew each time: what is in the store counts."""
    use_work()
    folder = paths.WORK / "hashers" / name.replace(os.sep, "_")
    with tempfile.TemporaryDirectory(dir=paths.WORK) as temporary:
        found = Path(repository.download_artifacts(PLACE_IN_MODEL, temporary))
        if not (found / WEIGHTS).is_file():
            raise UserError(f"{gone} ({PLACE_IN_MODEL} is not in the store)")
        folder.mkdir(parents=True, exist_ok=True)
        for file in hasher_files(found):
            shutil.move(file, folder / file.name)
    return folder


def _away(error: Exception) -> UserError:
    from tasks.records.store import tracking_uri

    return UserError(
        without_passwords(f"MLflow at {tracking_uri()} can't be read: {' '.join(str(error).split())[:200]}")
    )
