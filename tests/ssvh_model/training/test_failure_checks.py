from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.retrieval.codes import sign_codes
from ssvh_model.training.diagnostics import sampler_state
from ssvh_model.training.encoding import encode
from ssvh_model.training.failure_bounds import CHECKS, Thresholds, bounds
from ssvh_model.training.failure_checks import FailureChecks, Finding
from ssvh_model.training.figures import cluster_figures, code_figures, gap_figures
from ssvh_model.training.trainer import Trainer
from tests.ssvh_model.conftest import clustered_features
from tests.tasks.params.test_load import SHIPPED

THRESHOLDS = Thresholds(**SHIPPED["checks"])


def judge(rows: list[dict[str, Any]], sampler: str = "adversarial", **changes: Any) -> FailureChecks:
    checks = FailureChecks(replace(THRESHOLDS, **changes), sampler)  # type: ignore[arg-type]
    for epoch, row in enumerate(rows, start=1):
        checks.add({"epoch": epoch, "phase": "warmup", **row})
    return checks


def raised(rows: list[dict[str, Any]], sampler: str = "adversarial", **changes: Any) -> list[str]:
    return [finding.check for finding in judge(rows, sampler, **changes).raised()]


# One figure in bounds, one out of bounds with the shipped thresholds, and the check that must notice.
FIGURES = [
    ("score_spread", 0.3, 0.001, "grade_net_uniform"),
    ("selection_entropy", 0.99, 0.9995, "grade_net_uniform"),
    ("score_error_correlation", -0.5, -0.05, "score_unrelated"),
    ("score_error_correlation", -0.5, 0.5, "score_unrelated"),
    ("largest_absolute_balance", 0.2, 1.0, "dead_bits"),
    ("largest_absolute_correlation", 0.6, 1.0, "duplicate_bits"),
    ("code_diversity", 1.0, 0.01, "collapsed_codes"),
    ("empty_clusters", 0.0, 0.5, "empty_clusters"),
    ("giant_cluster", 0.05, 0.8, "giant_cluster"),
]


@pytest.mark.parametrize(("figure", "good", "bad", "check"), FIGURES)
def test_a_figure_out_of_bounds_raises_its_check_and_no_other(
    figure: str, good: float, bad: float, check: str
) -> None:
    assert raised([{figure: good}] * 3) == []
    assert raised([{figure: bad}] * 3) == [check]
    (finding,) = judge([{figure: bad}] * 3).raised()
    for part in (check, f"{finding.value:.3g}", f"{finding.threshold:g}", "since epoch 1", "; try "):
        assert part in finding.warning
    assert "\n" not in finding.warning


def test_every_check_has_a_test_here() -> None:
    assert {check for *_, check in FIGURES} | {"plateau_before_p2set", "growing_gap", "below_start"} == set(
        CHECKS
    )


def test_one_bad_measurement_is_no_warning_and_a_good_one_ends_it() -> None:
    bad, good = {"code_diversity": 0.0}, {"code_diversity": 1.0}
    assert raised([bad]) == []
    assert raised([bad, {"loss": 1.0}, bad]) == ["collapsed_codes"], "epochs without measurement do not count"
    assert raised([bad, good, bad]) == []
    assert raised([bad, bad, good]) == []
    assert raised([bad], patience=1) == ["collapsed_codes"]


def test_the_kind_of_sampler_says_which_correlation_is_wanted() -> None:
    rows = [{"score_error_correlation": 0.5, "score_spread": 0.3}] * 2
    assert raised(rows, "cooperative") == []
    assert raised(rows, "adversarial") == ["score_unrelated"]
    assert raised([{"score_error_correlation": -0.5}] * 2, "cooperative") == ["score_unrelated"]


def test_without_a_grade_net_its_checks_are_not_measured() -> None:
    states = judge([{"code_diversity": 1.0}] * 2, "random").record()["states"]
    assert states["grade_net_uniform"] == states["score_unrelated"] == {"state": "not measured"}
    assert states["collapsed_codes"]["state"] == "passed"


def gmaps(*values: float, phase: str = "warmup") -> list[dict[str, Any]]:
    return [{"validation_gmap": value, "phase": phase} for value in values]


def test_a_plateau_is_raised_until_clusters_have_helped() -> None:
    flat = gmaps(0.1, 0.2, 0.2, 0.2, 0.2, 0.2)
    assert raised(gmaps(0.1, 0.2, 0.2, 0.2)) == [], "too few measurements to tell"
    assert raised(gmaps(0.1, 0.12, 0.14, 0.16, 0.18, 0.2)) == [], "it still rises"
    assert raised(flat) == ["plateau_before_p2set"]
    assert "fewer warmup.epochs" in judge(flat).raised()[0].warning
    assert raised(flat + gmaps(0.2, 0.2, phase="round-1")) == ["plateau_before_p2set"]
    assert "more warmup.epochs" in judge(flat + gmaps(0.2, phase="round-1")).raised()[0].warning
    helped = flat + gmaps(0.25, 0.25, 0.25, 0.25, 0.25, 0.25, phase="round-1")
    assert raised(helped) == [], "a plateau after P2Set has helped is the end of the training"
    assert raised(gmaps(*[0.0] * 6)) == ["plateau_before_p2set"]


@pytest.mark.parametrize("loss", ["reconstruction", "view_contrastive"])
def test_a_gap_that_grows_is_raised_and_a_wide_one_is_not(loss: str) -> None:
    assert raised([{f"{loss}_gap": gap} for gap in (0.1, 0.3, 0.5, 0.6)]) == ["growing_gap"]
    assert raised([{f"{loss}_gap": 0.6}] * 4) == []
    assert raised([{f"{loss}_gap": gap} for gap in (0.6, 0.4, 0.2, 0.1)]) == []


def test_a_score_below_the_start_s_is_raised_where_there_are_no_labels() -> None:
    def scores(*values: float, **more: float) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [{"label_free_score": value, **more} for value in values]
        return [{**rows[0], "start_label_free_score": 0.2}, *rows[1:]]

    assert raised(scores(0.25, 0.1, 0.1)) == ["below_start"]
    assert raised(scores(0.1, 0.1, 0.19)) == [], "as good as the start again"
    assert raised(scores(0.1, 0.1, 0.1, validation_gmap=0.3)) == [], "labels tell more"
    assert raised([{"label_free_score": 0.1}] * 3) == [], "from random weights there is no start"
    assert "losses.gamma" in judge(scores(0.1, 0.1, 0.1)).raised()[0].warning


def test_findings_tell_since_when_and_the_record_is_plain() -> None:
    checks = FailureChecks(THRESHOLDS, "random")
    standing: list[list[Finding]] = [
        checks.add({"epoch": epoch, "phase": "warmup", "code_diversity": value})
        for epoch, value in ((5, 1.0), (10, 0.01), (15, 0.01), (20, 0.01))
    ]
    assert [found[0].raised for found in standing] == [False, False, True, True]
    assert [found[0].since for found in standing] == [None, 10, 10, 10]
    record = json.loads(json.dumps(checks.record()))
    assert record["raised"] == ["collapsed_codes"]
    assert record["states"]["collapsed_codes"] == {
        "state": "raised",
        "figure": "code_diversity",
        "value": 0.01,
        "threshold": THRESHOLDS.code_diversity,
        "epoch": 20,
        "since": 10,
    }
    assert list(record["states"]) == list(CHECKS)


def test_thresholds_are_checked() -> None:
    with pytest.raises(ValueError, match="patience"):
        replace(THRESHOLDS, patience=0)
    with pytest.raises(ValueError, match="gap_growth"):
        replace(THRESHOLDS, gap_growth=-0.1)


def test_remedies_name_parameters_that_exist() -> None:
    for sampler in ("adversarial", "cooperative", "random"):
        for phase in ("warmup", "round-1"):
            for bound in bounds(THRESHOLDS, sampler=sampler, phase=phase):  # type: ignore[arg-type]
                keys = re.findall(r"\b[a-z]+\.(?:<number>\.)?[a-z_]+\b", bound.remedy)
                assert keys or "fewer epochs" in bound.remedy, bound.remedy
                for key in keys:
                    place: Any = SHIPPED
                    for part in key.replace("<number>", "1").split("."):
                        place = place[part]


def measured(trainer: Trainer) -> dict[str, Any]:
    """The figures of a real model, as a stage measures them."""
    features = clustered_features(40).float()
    soft = encode(trainer.model.hasher, trainer.videos, batch_size=16, device=trainer.device)
    return {
        **sampler_state(trainer.model, features, draws=8, seed=0),
        **code_figures(sign_codes(soft.numpy())),
        **cluster_figures(trainer.granularities),
        **gap_figures(
            trainer.model, features[:20], features[20:], temperature=0.5, tau_plus=0.1, draws=1, seed=0
        ),
    }


def cluster(trainer: Trainer) -> list[Granularity]:
    soft = encode(trainer.model.hasher, trainer.videos, batch_size=16, device=trainer.device)
    return make_anchors(
        soft,
        [4],
        iterations=10,
        restarts=10,
        points_per_centroid=100,
        mean_concentration=0.2,
        centres="voting",
        seed=1,
    )


@pytest.fixture
def trained(make_trainer: Callable[..., Trainer]) -> Trainer:
    trainer = make_trainer(learning_rate=3e-3)
    for _ in range(15):
        trainer.train_epoch()
    trainer.granularities = cluster(trainer)
    return trainer


def test_a_healthy_model_raises_nothing_of_which_a_broken_part_raises_its_check(trained: Trainer) -> None:
    # Four kinds of videos make few different codes, and gumbel noise of scale 1 leaves the choice among 8
    # frames nearly free.
    limits = {"code_diversity": 0.02, "bit_correlation": 1.0, "selection_entropy": 1.0}
    rows = [measured(trained)] * 2
    healthy = set(raised(rows, **limits))
    assert not healthy & {
        "grade_net_uniform",
        "dead_bits",
        "collapsed_codes",
        "empty_clusters",
        "giant_cluster",
    }

    grade_net, norm = trained.model.grade_net, trained.model.hasher.hash_layer.norm
    assert grade_net is not None
    with torch.no_grad():
        grade_net.score.weight.zero_()
        assert "grade_net_uniform" in raised([measured(trained)] * 2, **limits)
        norm.weight[3], norm.bias[3] = 0.0, 1.0
        now_raised = set(raised([measured(trained)] * 2, **limits))
        assert "dead_bits" in now_raised and "collapsed_codes" not in now_raised
        norm.weight.zero_()
        norm.bias.fill_(1.0)
        trained.granularities = cluster(trained)
        now_raised = set(raised([measured(trained)] * 2, **limits))
    assert {"dead_bits", "collapsed_codes", "giant_cluster", "empty_clusters"} <= now_raised


def test_two_bits_made_from_one_weight_are_duplicates(trained: Trainer) -> None:
    layer = trained.model.hasher.hash_layer
    with torch.no_grad():
        layer.linear.weight[1], layer.linear.bias[1] = layer.linear.weight[0], layer.linear.bias[0]
        layer.norm.weight[1], layer.norm.bias[1] = layer.norm.weight[0], layer.norm.bias[0]
    codes = sign_codes(
        encode(trained.model.hasher, trained.videos, batch_size=16, device=trained.device).numpy()
    )
    assert np.array_equal(codes[:, 0], codes[:, 1])
    assert "duplicate_bits" in raised([measured(trained)] * 2)


def test_every_threshold_is_used() -> None:
    used = {bound.threshold for bound in bounds(distinct(), sampler="adversarial", phase="warmup")}
    patience = {"patience", "plateau_measurements"}
    assert used == {
        getattr(distinct(), field.name) for field in fields(Thresholds) if field.name not in patience
    }


def distinct() -> Thresholds:
    return Thresholds(*range(1, len(fields(Thresholds)) + 1))
