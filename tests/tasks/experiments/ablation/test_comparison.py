"""What the ablation says of results that are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ssvh_model.pictures.ablation import draw_ablation
from ssvh_model.retrieval.gmap import MAP_KS
from tasks.experiments.ablation.comparison import AblationResult, record, summarise
from tasks.experiments.ablation.table import markdown, notes, table
from tasks.experiments.ablation.variants import FULL, Variant, variants
from tasks.experiments.one_training import TrainingResult
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tests.conftest import REPOSITORY

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def params() -> Params:
    changes = {"ablation.resamples": 200, "sampler.kind": "adversarial"}
    return with_changes(load_params(REPOSITORY / "params.yaml"), changes, where="")


def result(seed: int, raised: float, curve: list[float]) -> TrainingResult:
    """Average precision of 80 queries around 0.3, raised by so much; one epoch of two seconds for each point
    of the curve.
    """
    rng = np.random.default_rng(seed)
    precision = rng.uniform(0.1, 0.5, size=(80, 1)) + rng.normal(0, 0.01, size=(80, len(MAP_KS))) + raised
    history = [
        {"epoch": number, "phase": "x", "seconds": 2.0, "validation_gmap": value}
        for number, value in enumerate(curve, start=1)
    ]
    gmap = float(np.exp(np.log(precision.mean(axis=0)).mean()))
    yardsticks = {"float": 0.25, "itq": None}
    return TrainingResult({"gmap": gmap, "history": history, "yardsticks": yardsticks}, precision)


QUICK, SLOW = [0.1, 0.4, 0.4, 0.4], [0.1, 0.2, 0.3, 0.39]


def ablation(params: Params, raised: dict[str, float], slow: list[float] = SLOW) -> AblationResult:
    """The full method and variants whose average precision is higher by so much; without clusters it
    converges as `slow`.
    """
    listed = {one.name: one for one in variants(params)}
    found = []
    for name in (FULL, *raised):
        curve = slow if name == "without-L_P2Set" else QUICK
        found.append((listed[name], [result(seed, raised.get(name, 0.0), curve) for seed in SEEDS]))
    return summarise(found, SEEDS, params)


def test_each_variant_beside_full_and_beside_the_paper(params: Params) -> None:
    found = ablation(
        params,
        {
            "random-sampler": -0.02,
            "without-L_FR": 0.02,
            "without-L_VC": 0.0,
            "kmeans-centres": -0.02,
            "repeated-negatives": 0.02,
        },
    )
    rows = {row.variant.name: row for row in found.rows}
    assert rows[FULL].difference is None and rows[FULL].verdict == ""
    random = rows["random-sampler"].difference
    assert random is not None and random.relative is not None
    assert random.relative == pytest.approx(-0.02 / np.mean(rows[FULL].gmaps), rel=0.01)
    assert rows["random-sampler"].verdict == "yes"
    assert rows["without-L_FR"].verdict == "no: better without it"
    assert rows["without-L_VC"].verdict == "no: no difference seen"
    assert rows["kmeans-centres"].verdict == "worse than full"
    assert rows["repeated-negatives"].verdict == "better than full"

    content = json.loads(json.dumps(record(found)))
    one = content["variants"]["random-sampler"]
    assert one["paper_per_cent"] == -5.9 and one["verdict"] == "yes"
    assert one["gmap_mean"] == pytest.approx(np.mean(one["gmap"]))
    assert one["gmap_std"] == pytest.approx(np.std(one["gmap"], ddof=1))
    assert one["to_full"]["low"] <= one["to_full"]["difference"] <= one["to_full"]["high"] < 0
    assert content["yardsticks"] == {"float": 0.25, "itq": None}


def test_a_variant_that_is_the_full_method_is_not_compared(params: Params) -> None:
    same = Variant("random-sampler", params, is_full=True)
    results = [result(seed, 0.0, QUICK) for seed in SEEDS]
    full = Variant(FULL, params, is_full=True)
    found = summarise([(full, results), (same, results)], SEEDS, params)
    assert found.rows[1].difference is None
    assert "it is so in params.yaml" in found.rows[1].verdict


def test_convergence(params: Params) -> None:
    found = ablation(params, {"without-L_P2Set": -0.01})
    assert [one.level for one in found.convergence] == pytest.approx([0.38] * 3)
    first = found.convergence[0]
    assert (first.full.epochs, first.full.seconds) == (2, 4.0)
    assert (first.without.epochs, first.without.seconds) == (4, 8.0)
    assert first.saved == 0.5
    assert found.convergence_verdict.startswith("yes, sooner in every seed: 50 % of the epochs")
    assert "the paper says 70 %" in found.convergence_verdict

    never = ablation(params, {"without-L_P2Set": 0.0}, slow=[0.1, 0.2, 0.2, 0.2])
    assert "at least 50 %" in never.convergence_verdict
    assert any("never in 4 epochs" in note for note in notes(never))
    as_soon = ablation(params, {"without-L_P2Set": 0.0}, slow=QUICK)
    assert as_soon.convergence_verdict.startswith("no, not sooner in every seed: 0 %")
    without = ablation(params, {"random-sampler": 0.0})
    assert without.convergence_verdict.startswith("not measured")
    assert record(found)["convergence"]["seeds"][0]["epochs_without_clusters"] == 4


def test_the_table_as_text_as_markdown_and_as_bars(params: Params, tmp_path: Path) -> None:
    found = ablation(params, {"random-sampler": -0.02, "without-L_P2Set": -0.01})
    console = Console(width=130, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(found, 0.95))
    printed = console.export_text()
    text = markdown(found, 0.95, "a heading")
    for part in ("random-sampler", "without-L_P2Set", "95 % interval", "-5.9", "-4.8", "±", "yes", " to -"):
        assert part in printed and part in text
    assert text.startswith("a heading\n\n| variant | GMAP |")
    assert "stands beside both samplers" in text and "float 0.2500, ITQ not measurable" in text
    path = tmp_path / "bars.png"
    gmaps = {row.variant.name: row.gmaps for row in found.rows}
    draw_ablation(path, gmaps, full=FULL, remark="r", yardsticks={"float": 0.25, "itq": None})
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_interval_that_holds_zero_is_never_a_yes(params: Params) -> None:
    """A drop as large as the paper's, but only in the mean: half of the queries fall, half rise."""
    listed: dict[str, Any] = {one.name: one for one in variants(params)}
    full = result(1, 0.0, QUICK)
    swing = np.where(np.arange(80) % 2 == 0, -0.35, 0.33)[:, None]
    noisy = TrainingResult(full.record, np.clip(full.average_precision + swing, 0.001, 1))
    found = summarise([(listed[FULL], [full]), (listed["random-sampler"], [noisy])], (1,), params)
    row = found.rows[1]
    assert row.difference is not None and row.difference.low < 0 < row.difference.high
    assert row.verdict == "no: no difference seen"
    assert "1 seeds: the interval holds little" in " ".join(notes(found))
