"""What the page of a Prefect run shows beside its logs: tables, pictures, links. Without a run that goes on, nothing is shown."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.machine.services import without_user
from tasks.records.store import tracking_uri

Say = Callable[[str], None]

PICTURE_WIDTH = 1200
MLFLOW_PAGE = (
    "http://127.0.0.1:5000"  # where `make ui` shows the embedded store, if nobody else has that port
)


def show_table(name: str, rows: list[dict[str, Any]], description: str, say: Say) -> None:
    """Show a table on the page of the run that is going on.

    Args:
        name: under which later versions are found; letters, digits and dashes, anything else becomes a dash.
        rows: the same keys each.
        description: in Markdown.
        say: logs a line if Prefect does not take it, which ends no work.
    """

    def create(key: str) -> None:
        from prefect.artifacts import create_table_artifact

        create_table_artifact(table=rows, key=key, description=description)

    _show(name, create, say)


def show_pictures(name: str, pictures: Sequence[Path], *, columns: int, description: str, say: Say) -> None:
    """Show pictures, joined to one, on the page of the run that is going on; those that are not there are passed over.

    The picture itself is in the record, so that the page needs no other server.
    """
    from ssvh_model.pictures.joined import join_pictures

    if not (there := [path for path in pictures if path.is_file()]):
        return

    def create(key: str) -> None:
        from prefect.artifacts import create_image_artifact

        jpeg = join_pictures(there, columns=columns, width=PICTURE_WIDTH)
        address = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        create_image_artifact(image_url=address, key=key, description=description)

    _show(name, create, say)


def show_mlflow_run(experiment: str, run: str, text: str, say: Say) -> None:
    """Link to the page of an MLflow run: on the server of `MLFLOW_TRACKING_URI`, or where `make ui` shows the embedded store."""

    def create(key: str) -> None:
        from prefect.artifacts import create_link_artifact

        uri = tracking_uri()
        page = without_user(uri).rstrip("/") if uri.startswith(("http://", "https://")) else MLFLOW_PAGE
        create_link_artifact(
            link=f"{page}/#/experiments/{experiment}/runs/{run}",
            link_text=text,
            key=key,
            description=f"MLflow run {run}",
        )

    _show("mlflow-run", create, say)


def _show(name: str, create: Callable[[str], None], say: Say) -> None:
    if not os.environ.get("PREFECT_API_URL"):
        return
    from prefect.context import FlowRunContext, TaskRunContext

    if TaskRunContext.get() is None and FlowRunContext.get() is None:
        return
    key = re.sub("[^a-z0-9]+", "-", name.lower())
    try:
        create(key)
    except Exception as error:
        say(f"{key} can't be shown in Prefect: {' '.join(str(error).split())[:200]}")
