"""The search space: what params.yaml may ask for, and what a trial's values make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from ssvh_model.errors import UserError
from tasks.params.changes import with_changes
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.tuning.schedule import describe_rounds, make_rounds
from tasks.tuning.space import Space, read_space
from tests.conftest import REPOSITORY
from tests.tasks.tuning.small import SPACE, write_tiny_tuning


@pytest.fixture(scope="module")
def shipped() -> Params:
    return load_params(REPOSITORY / "params.yaml")


def test_the_shipped_space_holds_the_shipped_parameters_exactly(shipped: Params) -> None:
    space = read_space(shipped)
    point = space.nearest(shipped)
    assert set(point) == set(space.dimensions)
    changed = with_changes(shipped, space.changes(point, most_clusters=120), where="test")
    assert changed == shipped, "the first trial of a study is within what TPE learns from"


def test_what_ships_reaches_the_weights_that_are_best_on_known_corpora(shipped: Params) -> None:
    given = shipped.tuning.space
    assert given["losses.alpha"] == {"from": 0.1, "to": 10.0, "scale": "log"}
    assert given["losses.beta"] == {"from": 0.01, "to": 1.0, "scale": "log"}
    options = ("sampler.mask_ratio", "sampler.noise", "sampler.temperature", "losses.temperature")
    everything = (
        *shipped.tuning.search,
        *options,
        "losses.gamma",
        "training.learning_rate",
        "model.code_noise",
        "model.training_bits",
    )
    assert set(everything) == set(given)
    space = read_space(with_changes(shipped, {"tuning.search": list(everything)}, where="test"))
    assert {"rounds.number", "rounds.clusters", "rounds.epochs", "rounds.refresh_every"} < set(
        space.dimensions
    )


def suggested(space: Space, seed: int) -> dict[str, Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return space.suggest(study.ask())


def test_every_point_makes_parameters_that_are_in_order(tmp_path: Path) -> None:
    write_tiny_tuning(tmp_path, tuning__search=list(SPACE))
    params = load_params(tmp_path / "params.yaml")
    space = read_space(params)
    for seed in range(60):
        values = suggested(space, seed)
        changes = space.changes(values, most_clusters=7)
        changed = with_changes(params, changes, where="test")
        assert set(changes) == set(SPACE)
        assert (
            0.1 <= changed.losses.alpha <= 10 and float(f"{changed.losses.alpha:.3g}") == changed.losses.alpha
        )
        assert 1 <= len(changed.rounds) <= 2
        assert sum(one.epochs for one in changed.rounds.values()) == values["rounds.epochs"] <= 5
        assert max(max(one.clusters) for one in changed.rounds.values()) <= 7
        assert changed.model == params.model and changed.seed == params.seed


@pytest.mark.parametrize(
    "values, rounds",
    [
        ((2, 16, 1.5, 2, 31, 2), [([16, 32], 16), ([24, 48], 15)]),
        ((1, 250, 1.0, 1, 9, 3), [([250], 9)]),
        ((3, 250, 1.6, 1, 9, 3), [([250], 3), ([400], 3), ([500], 3)]),
        ((2, 400, 2.0, 3, 2, 1), [([400, 500], 1), ([500], 1)]),
    ],
)
def test_schedules_of_six_numbers(values: tuple[float, ...], rounds: list[tuple[list[int], int]]) -> None:
    names = ("number", "clusters", "growth", "granularities", "epochs", "refresh_every")
    made = make_rounds(dict(zip(names, values, strict=True)), most=500)
    assert [(one["clusters"], one["epochs"]) for one in made.values()] == rounds
    assert [one["after"] for one in made.values()] == ["warmup", "round-1", "round-2"][: len(made)]
    assert {one["refresh_every"] for one in made.values()} == {values[-1]}


def test_a_schedule_that_six_numbers_do_not_make_has_a_nearest_one(shipped: Params) -> None:
    odd = with_changes(
        shipped,
        {
            "rounds": {
                "1": {"after": "warmup", "clusters": [5, 9, 11], "epochs": 7, "refresh_every": 2},
                "2": {"after": "round-1", "clusters": [4], "epochs": 1, "refresh_every": 1},
            }
        },
        where="test",
    )
    assert describe_rounds(odd.rounds)["epochs"] == 8
    point = read_space(odd).nearest(odd)
    assert point["rounds.growth"] == 1.0 and point["rounds.epochs"] == 15, "within the ranges"


ALPHA = "losses.alpha"


@pytest.mark.parametrize(
    "space, search, message",
    [
        ({}, ["losses.tau"], "tuning.search has losses.tau; allowed are keys of tuning.space: losses.alpha"),
        ({}, [ALPHA, ALPHA], "tuning.search is ['losses.alpha', 'losses.alpha']; allowed is every key once"),
        (
            {"losses.alfa": {"from": 1, "to": 2, "scale": "log"}},
            [ALPHA],
            "losses.alfa is not a key of params.yaml",
        ),
        (
            {"corpus.arcade.clips": [1, 2]},
            [ALPHA],
            "allowed are rounds and keys of the sections model, sampler",
        ),
        (
            {ALPHA: {"from": 0.0, "to": 1.0, "scale": "log"}},
            [ALPHA],
            "losses.alpha.from is 0; allowed is above 0",
        ),
        (
            {ALPHA: {"from": 2.0, "to": 1.0, "scale": "log"}},
            [ALPHA],
            "losses.alpha.to is 1; allowed is from 2",
        ),
        (
            {ALPHA: {"from": 1.0, "to": 2.0, "scale": "cubic"}},
            [ALPHA],
            "scale is 'cubic'; allowed is linear | log",
        ),
        (
            {ALPHA: {"from": "1", "to": 2.0, "scale": "log"}},
            [ALPHA],
            "losses.alpha.from is '1'; allowed is a number",
        ),
        (
            {ALPHA: {"from": 1.0, "to": 2.0}},
            [ALPHA],
            "allowed is {from: a number, to: a number, scale: linear | log}",
        ),
        ({ALPHA: [1.0]}, [ALPHA], "allowed is a list of at least two values"),
        (
            {"sampler.mask_ratio": {"from": 0.5, "to": 1.5, "scale": "linear"}},
            [ALPHA],
            "tuning.space.sampler.mask_ratio: sampler.mask_ratio is 1.5; allowed is a number above 0 and below 1",
        ),
        ({"sampler.kind": {"from": 1, "to": 2, "scale": "log"}}, [ALPHA], "sampler.kind is no number"),
        ({"sampler.kind": ["random", "some"]}, [ALPHA], "sampler.kind is 'some'; allowed is adversarial"),
        (
            {"training.batch_size": {"from": 8.0, "to": 9, "scale": "log"}},
            [ALPHA],
            "from is 8.0; allowed is a whole",
        ),
        (
            {"rounds": {"number": [1, 2]}},
            ["rounds"],
            "tuning.space.rounds: needed are the ranges number, clusters",
        ),
        (
            {"rounds": {**SPACE["rounds"], "epochs": {"from": 1, "to": 5, "scale": "linear"}}},
            ["rounds"],
            "rounds.epochs.from is 1; allowed is from 2, an epoch for each of the rounds (number.to)",
        ),
        (
            {"rounds": {**SPACE["rounds"], "clusters": {"from": 1, "to": 5, "scale": "log"}}},
            ["rounds"],
            "rounds.clusters.from is 1; allowed is from 2",
        ),
    ],
)
def test_what_is_not_possible_is_one_line_that_names_the_key(
    shipped: Params, space: dict[str, Any], search: list[str], message: str
) -> None:
    kept = {ALPHA: {"from": 0.1, "to": 10.0, "scale": "log"}}
    changed = with_changes(
        shipped, {"tuning.space": {**kept, **space}, "tuning.search": search}, where="test"
    )
    with pytest.raises(UserError) as raised:
        read_space(changed)
    assert str(raised.value).startswith("params.yaml: tuning.") and message in str(raised.value)
    assert "\n" not in str(raised.value)
