"""What the page of a Prefect run shows beside its logs: tables, pictures, links. Without a run that goes on,
nothing is shown.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.machine.progress import Say
from tasks.machine.services import without_user
from tasks.pipeline.flow_folder import ARTIFACT, FlowFolder
from tasks.records.prefect_run import in_a_run
from tasks.records.store import tracking_uri

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
    _show(name, "table", {"table": rows, "description": description}, say)


def show_pictures(name: str, pictures: Sequence[Path], *, columns: int, description: str, say: Say) -> None:
    """Show pictures, joined to one, on the page of the run that is going on; those that are not there are
    passed over.

    The picture itself is in the record, so that the page needs no other server.
    """
    from ssvh_model.pictures.joined import join_pictures

    if not (FlowFolder.given() or in_a_run()) or not (there := [path for path in pictures if path.is_file()]):
        return
    jpeg = join_pictures(there, columns=columns, width=PICTURE_WIDTH)
    address = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    _show(name, "image", {"image_url": address, "description": description}, say)


def show_mlflow_run(experiment: str, run: str, text: str, say: Say) -> None:
    """Link to the page of an MLflow run: on the server of `MLFLOW_TRACKING_URI`, or where `make ui` shows the
    embedded store.
    """
    uri = tracking_uri()
    page = without_user(uri).rstrip("/") if uri.startswith(("http://", "https://")) else MLFLOW_PAGE
    link = f"{page}/#/experiments/{experiment}/runs/{run}"
    _show("mlflow-run", "link", {"link": link, "link_text": text, "description": f"MLflow run {run}"}, say)


def _show(name: str, kind: str, content: dict[str, Any], say: Say) -> None:
    content["key"] = re.sub("[^a-z0-9]+", "-", name.lower())
    if (folder := FlowFolder.given()) is not None:
        # DVC names the stage that it has started.
        folder.tell(os.environ["DVC_STAGE"], ARTIFACT, artifact=kind, content=content)
    elif in_a_run():
        show_artifact(kind, content, say)


def show_artifact(kind: str, content: dict[str, Any], say: Say) -> None:
    """Show something on the page of the run that goes on in this process.

    Args:
        kind: "table", "image" or "link".
        content: arguments of Prefect's function that makes such an artifact.
        say: logs a line if Prefect does not take it, which ends no work.
    """
    from prefect import artifacts

    try:
        getattr(artifacts, f"create_{kind}_artifact")(**content)
    except Exception as error:
        say(f"{content['key']} can't be shown in Prefect: {' '.join(str(error).split())[:200]}")
