"""MLflow's registry as promotion sees it: versions of one model, and which of them is the champion."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ssvh_model.errors import UserError
from tasks.machine.services import answers, without_passwords
from tasks.records.databases import make_mlflow_database
from tasks.records.store import tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"


class Registry:
    """The versions of one registered model.

    Attributes:
        client: MLflow's.
        model: registered name.

    Raises:
        UserError: MLflow does not answer.
    """

    def __init__(self, model: str) -> None:
        self.uri, self.model = tracking_uri(), model
        # Asked first, because MLflow's own client would try again for minutes.
        if not self.answers():
            raise UserError(
                f"MLflow at {without_passwords(self.uri)} does not answer; the champion stays as it is"
            )
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        with self.asked():
            from mlflow import MlflowClient

            make_mlflow_database(self.uri, partial(print, flush=True))
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
            self.client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def answers(self) -> bool:
        """Whether the server is there; a database file always is."""
        return not self.uri.startswith("http") or answers(f"{self.uri.rstrip('/')}/health")

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Turn what MLflow raises into one line."""
        try:
            yield
        except (UserError, ImportError):
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            line = without_passwords(f"MLflow at {self.uri}: {first[:300]}")
            raise UserError(f"{line}; `ssvh models` shows how things stand") from error

    def aliases(self) -> dict[str, str]:
        """Alias -> version.

        Raises:
            UserError: nothing has been registered.
        """
        from mlflow.exceptions import MlflowException

        with self.asked():
            try:
                aliases = self.client.get_registered_model(self.model).aliases
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    raise UserError(
                        f"no model {self.model!r} is registered; `make run` registers one"
                    ) from None
                raise
        return {alias: str(version) for alias, version in aliases.items()}

    def champion(self) -> str | None:
        """The champion's version; None where there is none yet."""
        return self.aliases().get(CHAMPION)

    def resolve(self, which: str) -> str:
        """The version of an alias, or that number itself.

        Raises:
            UserError: there is no such version.
        """
        aliases = self.aliases()
        version = which if which.isdigit() else aliases.get(which)
        versions = [str(one.version) for one in self.versions()]
        if version not in versions:
            raise UserError(
                f"{self.model} has no {'version' if which.isdigit() else 'alias'} {which}; allowed are "
                f"{', '.join([*sorted(aliases), *versions])}"
            )
        return version

    def version(self, version: str) -> ModelVersion:
        """A version as MLflow returns it."""
        with self.asked():
            return self.client.get_model_version(self.model, version)

    def versions(self) -> list[Any]:
        """All versions, oldest first."""
        found: list[Any] = []
        token = None
        with self.asked():
            while True:
                page = self.client.search_model_versions(
                    f"name = '{self.model}'", max_results=200, page_token=token
                )
                found += page
                if not (token := page.token):
                    return sorted(found, key=lambda one: int(one.version))

    def crown(self, version: str) -> None:
        """Make a version the champion. MLflow does it in one step: readers see the old one or the new one.

        Raises:
            UserError: it did not happen, or can't be known to have happened.
        """
        try:
            with self.asked():
                self.client.set_registered_model_alias(self.model, CHAMPION, version)
        except UserError:
            # The request may have arrived, and only its answer been lost.
            if self.champion() != version:
                raise

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        with self.asked():
            for name, value in tags.items():
                self.client.set_model_version_tag(self.model, version, name, value)

    def untag(self, version: str, name: str) -> None:
        """Take a tag away, if it is there."""
        with self.asked():
            if name in self.client.get_model_version(self.model, version).tags:
                self.client.delete_model_version_tag(self.model, version, name)
