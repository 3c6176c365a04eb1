"""docs/explanation/findings.md is what the generator makes of the committed results, and the benchmarks count
what they say they count.
"""

from __future__ import annotations

import copy
import importlib
import re
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark by its name, as a script sees it."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def test_the_committed_document_is_what_the_results_say(benchmark: Any) -> None:
    findings = benchmark("findings")
    text = findings.DOCUMENT.read_text(encoding="utf-8")
    assert text == findings.document(), "run `python benchmarks/findings.py`"
    pictures = re.findall(r"\]\((\.\./images/[^)]+)\)", text)
    assert len(pictures) == 3
    assert all((findings.DOCUMENT.parent / picture).is_file() for picture in pictures)


def test_other_results_make_another_document(benchmark: Any) -> None:
    findings = benchmark("findings")
    result = findings.load("clustering_cost")
    text = findings.clustering(result)
    dear = copy.deepcopy(result)
    for row in dear["rows"]:
        row["share_of_an_epoch"] = {name: 0.5 for name in row["share_of_an_epoch"]}
    assert "\nNo. " in text and "\nIt can. " in findings.clustering(dear)

    result = findings.load("on_the_fly")
    assert "which is no more than twice what" in findings.on_the_fly(result)
    for row in result["gmap"]:
        if row["what"].startswith("trained on float32"):
            row["gmap"] += 0.5
    assert "no more than twice" not in findings.on_the_fly(result)


def test_selection_rates_are_counted_by_kind_of_frame(benchmark: Any) -> None:
    picks = benchmark("sampler_picks")
    kinds = np.array(
        [
            ["good", "black", "good", "static", "duplicated", "good"],
            ["good", "good", "blurred", "good", "foreign", "good"],
        ]
    )
    score = np.array([[0.9, 0.1, 0.8, 0.2, 0.3, 0.7], [0.6, 0.7, 0.1, 0.8, 0.2, 0.9]])
    looks = {"shown": (kinds == "good").astype(float), "score": score, "error": 1 - score}
    found = picks.summary(looks, kinds, sharpness=score, motion=-score)
    assert found["selection_rate"]["good"] == 1
    assert found["selection_rate"]["bad"] == found["selection_rate"]["black"] == 0
    correlation = found["score_correlation"]
    assert correlation["sharpness"]["all frames"] == pytest.approx(1)
    assert correlation["motion"]["all frames"] == pytest.approx(-1)
    assert correlation["reconstruction error"]["all frames"] == pytest.approx(-1)
    assert correlation["sharpness"]["good frames only"] == pytest.approx(1)
    assert found["relative_error"]["black"] > 1 > found["relative_error"]["good"]


def test_sharp_and_moving_thumbnails_are_told_from_flat_and_still_ones(benchmark: Any) -> None:
    picks = benchmark("sampler_picks")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
    flat = np.full((16, 16, 3), 128, dtype=np.uint8)

    class Shown:
        def frames(self, video: str) -> list[np.ndarray]:
            return [flat, flat, flat, noise]

    sharpness, motion = picks.picture_figures(Shown(), ["one"])
    assert sharpness[0, 3] > 10 and (sharpness[0, :3] == 0).all()
    assert motion[0, 3] > motion[0, 2] > 0 and (motion[0, :2] == 0).all()


def test_made_up_codes_are_means_of_signs(benchmark: Any) -> None:
    codes = benchmark("clustering_cost").soft_codes(300, 16, frames=25, seed=1)
    steps = (codes + 1) * 25 / 2
    assert codes.shape == (300, 16) and codes.abs().max() <= 1
    np.testing.assert_allclose(steps, steps.round(), atol=1e-4)
    assert codes.std() > 0.3
