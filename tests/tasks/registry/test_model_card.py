"""The model card's text and page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssvh_model.features import FeatureMeta
from ssvh_model.manifest import Video
from tasks import paths
from tasks.params.load import load_params
from tasks.registry.model_card import PICTURES, CardFacts, model_card
from tasks.registry.model_card_page import WIDEST, leave_card, lineage_links
from tests.tasks.experiments.small import write_tiny_params


def retrieval(gmap: float | None) -> dict[str, Any]:
    return {"gmap": gmap, "map_at_k": gmap and {str(k): gmap for k in (5, 20, 40, 60, 80, 100)}}


def evaluation(**changes: Any) -> dict[str, Any]:
    return {
        "bits": 16,
        **retrieval(0.3),
        "yardsticks": {"itq": retrieval(0.25), "float": retrieval(0.35)},
        "n_query": 80,
        "n_database": 320,
        "fine": None,
        "reasons": {},
        "selection": {"state": "end", "text": "the end of the training", "compared": {}},
        "checks": {"raised": [], "warnings": [], "states": {"bit_balance": {"state": "fine"}}},
        **changes,
    }


@pytest.fixture
def facts(project: Path) -> Any:
    write_tiny_params(project / "params.yaml")

    def make(**changes: Any) -> CardFacts:
        splits = ("train", "train", "query", "")
        return CardFacts(
            model="video-hasher",
            version="7",
            params=load_params(),
            evaluation=evaluation(**changes),
            videos=[
                Video(f"v{n}", f"v{n}.mp4", labels=("a",), split=split, status="ok" if split else "left out")
                for n, split in enumerate(splits)
            ],
            shape=(3, 8, 1280),
            features=FeatureMeta("efficientnet_lite0", "5793" * 16, 64),
            lineage=lineage_links(
                {
                    "ssvh.parent_run_id": "p" * 32,
                    "ssvh.git_commit": "abc",
                    "ssvh.package": "autossvh 0.2.0",
                    "ssvh.input.data/features": "f.dir",
                },
                experiment="1",
                run="r" * 32,
            ),
            megabytes=0.4,
        )

    return make


def text(facts: CardFacts) -> str:
    return model_card(facts, lambda name: name, PICTURES)


def test_it_tells_quality_data_parameters_and_lineage(facts: Any) -> None:
    card = text(facts())
    for wanted in (
        "# video-hasher version 7",
        "| this hasher | 0.3000 | 0.3000 | 0.3000 | 0.3000 |",
        "| ITQ, same bits, no training | 0.2500 |",
        "80 queries against 320",
        "4 files, 1 of them left out",
        "2 train, 1 query; 1 labels",
        "`efficientnet_lite0` at 64 pixels, run by torch in float32, weights",
        "3, 5 clusters for 2 epochs; 4 clusters for 1 epochs",
        "None of 1 failure checks was raised",
        "commit: `abc`",
        "package: autossvh 0.2.0",
        "`data/features`: `f.dir`",
        f"[run pppppppp](#/experiments/1/runs/{'p' * 32})",
        "![MAP at K beside the yardsticks](map_at_k.png)",
        "not for camera videos",
    ):
        assert wanted in card
    assert "worse than ITQ" not in card


def test_what_speaks_against_a_version_stands_in_it(facts: Any) -> None:
    checks = {"raised": ["gap"], "warnings": ["gap: try rounds.<number>.clusters"], "states": {}}
    card = text(facts(**retrieval(0.2), checks=checks))
    assert "**It is worse than ITQ**" in card
    assert "**raised**: gap: try rounds.&lt;number&gt;.clusters" in card


def test_what_was_not_measured_is_said(facts: Any) -> None:
    without = {"itq": retrieval(None), "float": retrieval(None)}
    card = text(facts(**retrieval(None), yardsticks=without, reasons={"gmap": "no labels"}))
    assert "Not measured: no labels." in card
    assert "How well it finds videos is not known." in card


class Run:
    """Where artifacts go."""

    id = "r" * 32

    def log_artifact(self, path: Path, folder: str) -> None:
        self.logged = {file.name for file in path.iterdir()}
        assert folder == "model_card"


def test_the_page_holds_its_pictures_and_the_description_points_to_them(facts: Any, project: Path) -> None:
    paths.PICTURES.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (40, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(paths.PICTURES / "map_at_k.png")
    run = Run()
    description = leave_card(facts(), project / "card", run)
    assert run.logged == {"model_card.md", "model_card.html", "map_at_k.png"}
    assert f"(get-artifact?path=model_card%2Fmap_at_k.png&run_uuid={'r' * 32})" in description
    assert "training.png" not in description, "it was not drawn"
    page = (project / "card/model_card.html").read_text()
    assert 'src="data:image/png;base64,' in page and "<table>" in page
    assert "](map_at_k.png)" in (project / "card/model_card.md").read_text()
    with Image.open(project / "card/map_at_k.png") as picture:
        assert picture.width == WIDEST


def test_a_card_of_a_start_says_so_and_what_the_checks_are_of(facts: Any, project: Path) -> None:
    checks = {"raised": ["gap"], "warnings": ["gap: is 3"], "states": {}}
    assert "Its weights are those of the end of the training (`selection: auto`)." in text(
        facts(checks=checks)
    )
    assert "whose weights are not these" not in text(facts(checks=checks))
    start = {"state": "start", "text": "the start of the training: validation GMAP 0.4", "compared": {}}
    found = text(facts(checks=checks, selection=start))
    assert "Its weights are those of the start of the training: validation GMAP 0.4" in found
    assert "Of the end of the training, whose weights are not these:\n\n- **raised**: gap: is 3" in found


def test_html_from_the_data_is_shown_and_not_run(facts: Any, project: Path) -> None:
    checks = {"raised": ["x"], "warnings": ["<script>alert(1)</script>"], "states": {}}
    leave_card(facts(checks=checks), project / "card", Run())
    assert "<script" not in (project / "card/model_card.html").read_text()
