"""Promotion and rollback, over real hashers, files and an SQLite store."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssvh_model.errors import UserError
from ssvh_model.progress import no_progress
from tasks.params.load import load_params
from tasks.promotion.listing import list_log
from tasks.promotion.log import CLOSED, HOLDER, OPEN, RECORD, STATE, Holder
from tasks.promotion.promote import promote, rollback
from tasks.promotion.turn import Decision
from tasks.records.tags import HASH_TAG, RAISED_TAG
from tasks.registry.listing import list_versions
from tests.tasks.registry.registered import (
    MODEL,
    NUISANCE,
    corpus_features,
    register,
    save_hasher_that_is_blind,
    write_features,
    write_project,
)

LOG = f"{MODEL}-promotions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with hashers of three qualities, the last one much the best, and one that is worse than
    ITQ.
    """
    folder = tmp_path_factory.mktemp("promotion")
    write_project(folder)
    for name, blind, seed in (("fair", 4, 1), ("good", 6, 1), ("best", 8, 1), ("poor", 0, 2)):
        save_hasher_that_is_blind(folder / name, blind, seed=seed)
    return folder


@dataclass
class World:
    """A project in the present folder, its store, and what can be done there."""

    folder: Path
    client: Any

    def register(self, name: str, **tags: str) -> str:
        return register(self.client, self.folder / name, **tags)

    def promote(self, which: str = "challenger", **settings: Any) -> Decision:
        options = {"dry_run": False, "unmeasured": False, "again": False, **settings}
        return promote(
            load_params(), which=which, by="anna", say=print, progress=lambda _: no_progress, **options
        )

    def rollback(self, to: str = "", reason: str = "", dry_run: bool = False) -> Decision:
        options = {"reason": reason, "dry_run": dry_run}
        return rollback(load_params(), to=to, by="ben", say=print, progress=lambda _: no_progress, **options)

    def champion(self) -> str | None:
        found = self.client.get_registered_model(MODEL).aliases.get("champion")
        return None if found is None else str(found)

    def tags(self, version: str) -> dict[str, str]:
        return dict(self.client.get_model_version(MODEL, version).tags)

    def hasher_files(self, version: str) -> Path:
        return Path(self.client.get_model_version_download_uri(MODEL, version).removeprefix("file://")) / (
            "artifacts/hasher"
        )


@pytest.fixture
def world(template: Path, empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    shutil.copy2(empty_mlflow, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tasks.promotion.measure.SECONDS_TO_MEASURE_SPEED", 0.0)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    client.create_experiment("autossvh", artifact_location=(tmp_path / "mlartifacts").as_uri())
    return World(tmp_path, client)


def test_the_first_champion_needs_none_to_beat(world: World) -> None:
    world.register("fair")
    decision = world.promote()
    assert decision.moved
    assert world.champion() == "1"
    tags = world.tags("1")
    assert tags["ssvh.promotion.decision"] == "version 1 promoted, the first champion"
    assert tags["ssvh.promotion.by"] == "anna"


def test_a_first_champion_may_be_as_good_as_itq(world: World) -> None:
    world.register("poor")
    assert world.promote().moved, "it is ITQ itself, from another beginning"


def test_a_first_champion_must_not_be_worse_than_itq(world: World) -> None:
    weights = load_file("poor/hasher.safetensors")
    weights["embedding.weight"].zero_()  # all videos have one code
    save_file(weights, "poor/hasher.safetensors")
    world.register("poor")
    decision = world.promote()
    assert not decision.moved
    assert world.champion() is None
    assert "at least as good as ITQ" in decision.record["reason"]


def test_a_better_challenger_takes_the_champion_s_place_and_both_carry_the_decision(world: World) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    decision = world.promote()
    assert decision.moved
    assert world.champion() == "2"
    difference = decision.record["difference"]
    assert 0 < difference["low"] < difference["difference"] < difference["high"]
    assert decision.record["gmap"] - decision.record["champion_gmap"] == pytest.approx(
        difference["difference"]
    )
    for version in ("1", "2"):
        tags = world.tags(version)
        assert tags["ssvh.promotion.decision"] == "version 2 promoted over version 1"
        assert float(tags["ssvh.promotion.gmap"]) == pytest.approx(decision.record["gmap"], rel=1e-5)
        assert float(tags["ssvh.promotion.champion_gmap"]) == pytest.approx(
            decision.record["champion_gmap"], rel=1e-5
        )
        assert f"{difference['low']:+.4f}" in tags["ssvh.promotion.interval"]
        assert tags["ssvh.promotion.reason"] == decision.record["reason"]
        assert tags["ssvh.promotion.entry"] == f"models:/{LOG}/2"


def test_figures_are_those_of_the_evaluation_stage(world: World) -> None:
    """Measured now, on the splits of `evaluate`: another database gives another figure."""
    world.register("good")
    first = world.promote(dry_run=True).record
    assert (first["query"], first["database"]) == ("query", "train+validation+database")
    params = (world.folder / "params.yaml").read_text()
    changed = params.replace("database: [train, validation, database]", "database: [train]")
    assert changed != params
    (world.folder / "params.yaml").write_text(changed)
    second = world.promote(dry_run=True).record
    assert second["database"] == "train"
    assert second["gmap"] != first["gmap"]
    assert second["corpus"] == first["corpus"] != ""


def test_a_worse_challenger_and_one_that_is_no_better_are_kept_out(world: World) -> None:
    for name in ("good", "fair", "good"):
        world.register(name)
    world.promote("1")
    for version in ("2", "3"):
        decision = world.promote(version)
        assert not decision.moved
        assert "better than the champion" in decision.record["reason"]
        assert world.champion() == "1"
        for tagged in ("1", version):
            assert (
                world.tags(tagged)["ssvh.promotion.decision"]
                == f"version {version} not promoted, version 1 stays"
            )


def test_the_margin_is_held_against_the_lower_end(world: World) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    low = world.promote(dry_run=True).record["difference"]["low"]
    path = world.folder / "params.yaml"
    text = path.read_text()
    for margin, moved in ((low + 0.001, False), (low - 0.001, True)):
        path.write_text(text.replace("margin: 0.0 ", f"margin: {margin} "))
        assert world.promote(dry_run=True).moved is moved


@pytest.mark.parametrize(
    ("setting", "name"),
    [("videos_per_second: 50.0", "encoding speed"), ("megabytes: 500.0", "size")],
)
def test_too_slow_or_too_large(world: World, setting: str, name: str) -> None:
    world.register("good")
    path = world.folder / "params.yaml"
    limit = {"encoding speed": "1.0e+12", "size": "0.001"}[name]
    path.write_text(path.read_text().replace(setting, f"{setting.partition(':')[0]}: {limit}"))
    decision = world.promote()
    assert not decision.moved
    assert [check["name"] for check in decision.record["checks"] if check["passed"] is False] == [name]


def test_a_raised_failure_check_keeps_a_version_out(world: World) -> None:
    world.register("good", **{RAISED_TAG: "bit_balance"})
    decision = world.promote()
    assert not decision.moved
    assert "bit_balance raised" in decision.record["reason"]


def test_a_dry_run_changes_nothing(world: World) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    before = [world.tags(version) for version in ("1", "2")], list_log(MODEL)
    decision = world.promote(dry_run=True)
    assert decision.moved and decision.number is None
    assert world.champion() == "1"
    assert ([world.tags(version) for version in ("1", "2")], list_log(MODEL)) == before
    assert not world.rollback("2", dry_run=True).number
    assert world.champion() == "1"


def test_the_champion_itself_needs_no_promotion(world: World) -> None:
    world.register("fair")
    world.promote()
    assert world.promote().record["outcome"] == "unchanged"
    assert world.champion() == "1"


def without_labels(world: World) -> None:
    """Videos without labels, whose kinds are what the features show."""
    path = world.folder / "data/features/features.h5"
    write_features(path, corpus_features(NUISANCE), labelled=False)


@pytest.mark.slow
def test_without_labels_codes_of_chance_are_refused_and_better_ones_win(world: World) -> None:
    without_labels(world)
    weights = world.folder / "poor/hasher.safetensors"
    shuffled = {
        name: values.flatten()[torch.randperm(values.numel())].view_as(values)
        for name, values in load_file(weights).items()
    }
    save_file(shuffled, weights)
    chance = world.register("poor")
    refused = world.promote()
    assert not refused.moved and "ITQ: score without labels" in refused.record["reason"]
    assert refused.record["gmap"] is None
    assert refused.record["label_free_score"] < refused.record["itq_label_free_score"]
    # As if by hand, so that there is one to beat.
    world.client.set_registered_model_alias(MODEL, "champion", chance)
    for name, beats_chance in (("best", True), ("poor", False)):
        world.register(name)
        against, itq, *_ = world.promote(dry_run=True).record["checks"]
        assert against["passed"] is beats_chance and itq["passed"] is not None
        assert "score without labels" in against["found"]


def test_what_can_t_be_measured_is_promoted_only_if_one_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_labels(world)
    monkeypatch.setattr("tasks.promotion.unlabelled.LEAST_VIDEOS", 1000)
    world.register("good")
    decision = world.promote()
    assert not decision.moved
    assert "can't be measured" in decision.record["reason"]
    decision = world.promote(unmeasured=True)
    assert decision.moved
    assert "let pass" in decision.record["reason"]


def test_a_champion_for_other_features_is_replaced_only_if_one_says_so(world: World) -> None:
    world.register("fair")
    world.promote()
    files = world.hasher_files("1")
    about = json.loads((files / "hasher.json").read_text())
    about["features"]["backbone"] = "another"
    (world.folder / "other").mkdir()
    (world.folder / "other/hasher.json").write_text(json.dumps(about))
    shutil.copy2(files / "hasher.safetensors", world.folder / "other")
    other = world.register("other")
    world.client.set_registered_model_alias(MODEL, "champion", other)
    world.register("good")
    decision = world.promote()
    assert not decision.moved
    assert "another" in decision.record["reason"]
    assert world.promote(unmeasured=True).moved
    with pytest.raises(UserError, match="was made for"):
        world.promote(other)


@pytest.mark.slow
def test_rollback_goes_back_step_by_step_and_a_promotion_after_it_starts_anew(world: World) -> None:
    for name in ("fair", "good", "best"):
        world.register(name)
        world.promote()
    assert world.champion() == "3"
    assert world.rollback(reason="wrong clips").moved
    assert world.champion() == "2"
    assert "wrong clips" in world.tags("3")["ssvh.rolled_back"]
    assert world.rollback().moved
    assert world.champion() == "1"
    with pytest.raises(UserError, match="first champion"):
        world.rollback()

    refused = world.promote("3")
    assert refused.record["outcome"] == "refused" and "wrong clips" in refused.record["reason"]
    assert world.promote("3", again=True).moved
    assert "ssvh.rolled_back" not in world.tags("3")
    world.rollback()
    assert world.champion() == "1"
    world.rollback("2")
    assert world.champion() == "2"


def test_rollback_after_a_champion_made_by_hand(world: World) -> None:
    for name in ("fair", "good"):
        world.register(name)
    world.promote("1")
    world.client.set_registered_model_alias(MODEL, "champion", "2")
    world.rollback()
    assert world.champion() == "1"


def test_the_log_survives_alias_moves_and_lists_newest_first(world: World) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    world.promote()
    world.rollback(reason="because")
    world.client.delete_registered_model_alias(MODEL, "champion")
    log = list_log(MODEL)
    assert [(entry["entry"], entry["outcome"]) for entry in log] == [
        (3, "rolled back"),
        (2, "promoted"),
        (1, "promoted"),
    ]
    assert [entry["by"] for entry in log] == ["ben", "anna", "anna"]
    page = world.client.get_model_version(LOG, "2")
    assert page.description.startswith("**version 2 promoted over version 1**")
    assert "| better than the champion | passed |" in page.description
    assert page.source.endswith(f"/{MODEL}/2")


def test_versions_are_listed_with_aliases_scores_and_lineage(world: World) -> None:
    world.register("fair", gmap="0.25", **{"ssvh.git_commit": "abc", "ssvh.input.data/features": "f00.dir"})
    world.register("good")
    world.promote("1")
    newest, oldest = list_versions(MODEL)
    assert (newest["version"], newest["aliases"]) == ("2", ["challenger"])
    assert (oldest["aliases"], oldest["gmap"], oldest["checks_raised"]) == (["champion"], 0.25, "none")
    assert oldest["decision"] == "version 1 promoted, the first champion"
    assert oldest["lineage"]["commit"] == "abc"
    assert oldest["lineage"]["data/features"] == "f00.dir"
    assert oldest["lineage"]["run"]


@pytest.mark.parametrize("whose", ["challenger", "champion"])
@pytest.mark.parametrize("damage", ["gone", "changed", "unhashed"])
def test_files_that_are_gone_or_not_what_was_registered_leave_the_champion(
    world: World, whose: str, damage: str
) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    version = {"champion": "1", "challenger": "2"}[whose]
    files = world.hasher_files(version)
    if damage == "gone":
        shutil.rmtree(files)
    elif damage == "changed":
        weights = files / "hasher.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    else:
        world.client.delete_model_version_tag(MODEL, version, HASH_TAG)
    wanted = {"gone": "gone", "changed": "hash", "unhashed": HASH_TAG}[damage]
    with pytest.raises(UserError, match=wanted) as caught:
        world.promote()
    assert "\n" not in str(caught.value)
    assert world.champion() == "1"
    assert list_log(MODEL)[0]["outcome"] == "failed"
    world.register("best")
    if whose == "challenger":
        assert world.promote().moved, "the next one is not in its way"
        with pytest.raises(UserError, match=wanted):
            world.rollback("2")
        assert world.champion() == "3"


def test_an_unknown_version_is_one_line_that_says_which_there_are(world: World) -> None:
    with pytest.raises(UserError, match="`make run` registers one"):
        world.promote()
    world.register("fair")
    with pytest.raises(UserError, match="no version 7; allowed are challenger, 1"):
        world.promote("7")
    with pytest.raises(UserError, match="no champion"):
        world.rollback()


def left_open(world: World, version: str, *, outcome: str, host: str | None = None) -> str:
    """An entry as a process leaves it that is killed; its number."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = Holder.this()
    holder = {"token": "t", "host": host or mine.host, "pid": ended.pid, "started": mine.started - 5}
    record = {
        "action": "promote",
        "version": version,
        "before": world.champion(),
        "by": "carl",
        "at": "2026-01-01T00:00:00+00:00",
        "reason": "passed the gate",
    }
    if outcome:
        record["outcome"] = outcome
    tags = {STATE: OPEN, HOLDER: json.dumps(holder), RECORD: json.dumps(record)}
    return str(world.client.create_model_version(LOG, f"models:/{MODEL}/{version}", tags=tags).version)


@pytest.mark.parametrize(
    ("noted", "moved", "settled"),
    [("", False, "abandoned"), ("promoting", False, "abandoned"), ("promoting", True, "promoted")],
)
def test_an_entry_that_a_killed_process_left_is_settled_by_what_the_alias_says(
    world: World, noted: str, moved: bool, settled: str
) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    number = left_open(world, "2", outcome=noted)
    if moved:
        world.client.set_registered_model_alias(MODEL, "champion", "2")
    decision = world.promote()
    assert decision.record["outcome"] == ("unchanged" if moved else "promoted")
    assert world.champion() == "2"
    entry = world.client.get_model_version(LOG, number)
    assert entry.tags[STATE] == CLOSED
    assert json.loads(entry.tags[RECORD])["outcome"] == settled
    if moved:
        for version in ("1", "2"):
            assert world.tags(version)["ssvh.promotion.decision"] == "version 2 promoted over version 1"
        world.rollback()
        assert world.champion() == "1"


def test_a_promotion_that_goes_on_elsewhere_is_not_disturbed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.register("fair")
    world.promote()
    world.register("good")
    number = left_open(world, "2", outcome="", host="another-machine")
    decision = world.promote()
    assert decision.record["outcome"] == "refused"
    assert f"entry {number}" in decision.record["reason"] and "carl" in decision.record["reason"]
    assert world.champion() == "1"
    monkeypatch.setattr("tasks.promotion.log.LEASE_SECONDS", -1.0)
    assert world.promote().moved, "without a sign of life for the length of the lease, its turn is over"


def test_an_alias_that_somebody_moves_meanwhile_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fair", "good", "best"):
        world.register(name)
    world.promote("1")

    def moves_it(_: str) -> Any:
        world.client.set_registered_model_alias(MODEL, "champion", "3")
        return no_progress

    options = {"dry_run": False, "unmeasured": False, "again": False}
    with pytest.raises(UserError, match="changed meanwhile, from version 1 to 3"):
        promote(load_params(), which="2", by="anna", say=print, progress=moves_it, **options)
    assert world.champion() == "3"


@pytest.mark.slow
def test_turns_never_overlap(world: World) -> None:
    """Three processes take turns as fast as they can; who has one writes when it begins and ends."""
    world.register("fair")
    script = """
import sys, time
from pathlib import Path
from tasks.promotion.turn import in_turn
from tasks.registry.versions import Registry
name = sys.argv[1]
registry = Registry("video-hasher")
def decide():
    began = time.monotonic()
    time.sleep(0.02)
    with open("turns", "a") as file:
        file.write(f"{began} {time.monotonic()}\\n")
    return {"outcome": "unchanged", "reason": "", "before": None}
Path(f"ready-{name}").touch()
while not all(Path(f"ready-{other}").exists() for other in "abc"):
    time.sleep(0.01)
for _ in range(8):
    print(in_turn(registry, {"version": "1", "by": name}, decide, print).record["outcome"])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, name], env=environment, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    outcomes = "".join(outputs).split()
    turns = sorted(
        tuple(map(float, line.split())) for line in (world.folder / "turns").read_text().splitlines()
    )
    assert len(turns) == outcomes.count("unchanged")
    assert outcomes.count("unchanged") + outcomes.count("refused") == 24
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(turns))
    assert outcomes.count("refused") > 0, "they were in each other's way"
