"""Where the model card of a version stands: its description in MLflow, and a page with all pictures among the
artifacts of its run.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ssvh_model.files import atomic_path
from tasks import paths
from tasks.records.tags import (
    FLOW_RUN_TAG,
    GIT_COMMIT_TAG,
    INPUT_TAG,
    MOST_CHARACTERS,
    PACKAGE_TAG,
    PARENT_RUN_TAG,
)
from tasks.registry.model_card import PICTURES, SHOWN_PICTURES, CardFacts, model_card

if TYPE_CHECKING:
    from tasks.records.stage_run import StageRun

FOLDER = "model_card"
WIDEST = 800  # pixels
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 1.8rem; border-bottom: 1px solid #d9d9d9; }
table { border-collapse: collapse; margin: 0.8rem 0; }
th, td { padding: 0.25rem 0.8rem; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; } code { background: #f1f4f7; padding: 0 0.2rem; }
"""


def leave_card(facts: CardFacts, folder: Path, run: StageRun) -> str:
    """Write the card and its pictures to `folder`, copy them to the run's artifacts, and return the short
    card, for the description.

    Args:
        facts: what it says.
        folder: made if needed.
        run: the stage's MLflow run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [name for name in PICTURES if (paths.PICTURES / name).is_file()]
    for name in drawn:
        _copy(paths.PICTURES / name, folder / name)

    def beside(name: str) -> str | None:
        return name if name in drawn else None

    def inside(name: str) -> str | None:
        return _embedded(folder / name) if name in drawn else None

    def served(name: str) -> str | None:
        """Where an MLflow server gives out an artifact, relative to its page."""
        asked = urlencode({"path": f"{FOLDER}/{name}", "run_uuid": run.id})
        return f"get-artifact?{asked}" if name in drawn else None

    title = f"{facts.model} version {facts.version}"
    for name, text in (
        ("model_card.md", model_card(facts, beside, PICTURES)),
        ("model_card.html", _page(title, model_card(facts, inside, PICTURES))),
    ):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    run.log_artifact(folder, FOLDER)
    return model_card(facts, served, SHOWN_PICTURES)[:MOST_CHARACTERS]


def _copy(picture: Path, target: Path) -> None:
    """Copy a picture, not wider than MLflow's page shows it: what is wider is cut off there."""
    from PIL import Image

    with Image.open(picture) as image, atomic_path(target) as temporary:
        image.thumbnail((WIDEST, image.height), Image.Resampling.LANCZOS)
        image.save(temporary)


def lineage_links(tags: Mapping[str, str], *, experiment: str, run: str) -> dict[str, str]:
    """A version's lineage, with links to the runs where MLflow's page can follow them."""
    known = {
        "registered by": _link(experiment, run),
        "pipeline run": _link(experiment, tags[PARENT_RUN_TAG]),
        "commit": f"`{tags['ssvh.git_commit']}`" if GIT_COMMIT_TAG in tags else "",
        "package": tags.get(PACKAGE_TAG, ""),
        "Prefect flow run": tags.get(FLOW_RUN_TAG, ""),
        **{
            f"`{name.removeprefix('ssvh.input.')}`": f"`{digest}`"
            for name, digest in tags.items()
            if name.startswith(INPUT_TAG)
        },
    }
    return {name: value for name, value in known.items() if value}


def _link(experiment: str, run: str) -> str:
    return f"[run {run[:8]}](#/experiments/{experiment}/runs/{run})"


def _page(title: str, markdown: str) -> str:
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    return f"<!doctype html>\n<html><head>{head}</head>\n<body>{body}</body></html>\n"


def _embedded(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode('ascii')}"
