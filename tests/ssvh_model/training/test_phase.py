from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ssvh_model.clustering.anchors import Granularity, make_anchors
from ssvh_model.errors import UserError
from ssvh_model.progress import no_progress
from ssvh_model.training.centering import learn_center
from ssvh_model.training.checkpoint import (
    CheckpointFolder,
    TrainingState,
    load_hasher,
    load_history,
    load_weights,
    restore_trainer,
)
from ssvh_model.training.encoding import encode
from ssvh_model.training.phase import Phase, train_phase
from ssvh_model.training.trainer import Trainer
from tests.conftest import REPOSITORY
from tests.ssvh_model.conftest import tiny_config

MakeTrainer = Callable[..., Trainer]


class Stopped(Exception):
    """Stands for a killed run in tests that need not kill a process."""


def refresh(trainer: Trainer) -> Sequence[Granularity]:
    soft = encode(trainer.model.hasher, trainer.videos, batch_size=16, device=trainer.device)
    return make_anchors(
        soft,
        [3, 5],
        iterations=5,
        restarts=1,
        points_per_centroid=100,
        mean_concentration=0.2,
        centres="voting",
        seed=1,
        last=trainer.granularities,
    )


def initialize(trainer: Trainer) -> dict[str, float]:
    learn_center(trainer.model.hasher, trainer.videos, batch_size=16)
    return {"start_agreement": 0.5}


def run(
    trainer: Trainer,
    name: str,
    folder: Path,
    *,
    start: Path | None = None,
    epochs: int = 6,
    stop_after: int | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> Path:
    def on_epoch(row: dict[str, Any], seconds: float) -> None:
        if rows is not None:
            rows.append(row)
        if stop_after is not None and seconds and row["epoch"] % epochs == stop_after:
            raise Stopped

    anchors: Sequence[Granularity] = ()
    if start is not None:
        restore_trainer(start, trainer)
        anchors = refresh(trainer)
    return train_phase(
        trainer,
        tiny_config(),
        Phase(name, epochs, refresh_every=2, checkpoint_every=2, measure_every=3),
        start=start,
        initialize=initialize,
        anchors=anchors,
        refresh=refresh,
        measure=lambda trainer: {"validation_gmap": float(trainer.epoch)},
        on_epoch=on_epoch,
        checkpoints=CheckpointFolder(folder),
        progress=no_progress,
    )


def assert_same_weights(left: Path, right: Path) -> None:
    states: list[TrainingState] = ["end", "start"]
    for state in states:
        wanted, found = load_weights(left, state), load_weights(right, state)
        assert wanted.keys() == found.keys()
        for name, value in wanted.items():
            assert torch.equal(value, found[name]), (state, name)


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5])
def test_a_stopped_phase_goes_on_bit_for_bit(
    make_trainer: MakeTrainer, tmp_path: Path, stop_after: int
) -> None:
    undisturbed = run(make_trainer(), "warmup", tmp_path / "undisturbed")
    with pytest.raises(Stopped):
        run(make_trainer(), "warmup", tmp_path / "stopped", stop_after=stop_after)
    rows: list[dict[str, Any]] = []
    resumed = run(make_trainer(), "warmup", tmp_path / "stopped", rows=rows)
    assert_same_weights(undisturbed, resumed)
    assert load_history(undisturbed) == load_history(resumed) == rows

    # The same for a round of the second phase, whose anchors change while it runs.
    undisturbed_round = run(make_trainer(), "round-1", tmp_path / "undisturbed-1", start=undisturbed)
    with pytest.raises(Stopped):
        run(make_trainer(), "round-1", tmp_path / "stopped-1", start=resumed, stop_after=stop_after)
    resumed_round = run(make_trainer(), "round-1", tmp_path / "stopped-1", start=resumed)
    assert_same_weights(undisturbed_round, resumed_round)
    history = load_history(resumed_round)
    assert [row["phase"] for row in history] == ["warmup"] * 6 + ["round-1"] * 6
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert all("p2set" in row for row in history[6:])
    assert [row["epoch"] for row in history if "validation_gmap" in row] == [3, 6, 9, 12]


def test_the_second_phase_starts_from_the_full_state(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    warm = run(make_trainer(), "warmup", tmp_path / "warm")
    trainer = make_trainer()
    restore_trainer(warm, trainer)
    assert trainer.epoch == 6
    assert any(trainer.optimizer.moments), "Adam's moments come along"
    assert_same_weights(warm, warm)


def test_anchors_are_refreshed_within_a_round(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    warm = run(make_trainer(), "warmup", tmp_path / "warm")
    calls: list[int] = []
    seen: list[float] = []
    trainer = make_trainer()
    restore_trainer(warm, trainer)

    def counted(current: Trainer) -> Sequence[Granularity]:
        calls.append(current.epoch)
        return refresh(current)

    train_phase(
        trainer,
        tiny_config(),
        Phase("round-1", 6, refresh_every=2, checkpoint_every=6, measure_every=6),
        start=warm,
        initialize=initialize,
        anchors=refresh(trainer),
        refresh=counted,
        measure=lambda trainer: {},
        on_epoch=lambda row, seconds: None,
        checkpoints=CheckpointFolder(tmp_path / "round"),
        progress=lambda done, total: seen.append(done / total),
    )
    assert calls == [8, 10]
    assert seen == sorted(seen) and seen[-1] == 1


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        from tests.ssvh_model.conftest import make_trainer
        from tests.ssvh_model.training.test_phase import run
        import ssvh_model.training.checkpoint as checkpoint
        folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
        written = 0
        original = os.replace
        def replace(*paths):
            # Dies where it hurts most: a checkpoint is written, but not yet in its place.
            global written
            written += 1
            if written == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            original(*paths)
        checkpoint.os.replace = replace
        make = make_trainer.__wrapped__() if hasattr(make_trainer, "__wrapped__") else make_trainer._fixture_function()
        run(make(), "warmup", folder)
        """)
    )

    def train(folder: Path, kill_at: int) -> int:
        return subprocess.run(
            [sys.executable, str(script), str(folder), str(kill_at)],
            cwd=REPOSITORY,
            env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
            check=False,
        ).returncode

    assert train(tmp_path / "undisturbed", 0) == 0
    assert train(tmp_path / "killed", 2) == -9
    assert len(list((tmp_path / "killed").glob("epoch-*"))) == 1, "the first checkpoint is intact"
    assert train(tmp_path / "killed", 2) == -9
    assert train(tmp_path / "killed", 0) == 0
    newest = (
        CheckpointFolder(tmp_path / "killed").newest(),
        CheckpointFolder(tmp_path / "undisturbed").newest(),
    )
    assert newest[0] is not None and newest[1] is not None
    assert_same_weights(newest[0], newest[1])
    assert not list((tmp_path / "killed").glob(".*")), "no leftovers"


def test_a_damaged_checkpoint_is_one_clear_line_and_runs_nothing(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    whole = run(make_trainer(), "warmup", tmp_path / "warm", epochs=2)
    for file, message in (
        ("training.pt", "does not fit"),
        ("model.safetensors", "not a readable weights file"),
        ("start.safetensors", "not a readable weights file"),
    ):
        broken = tmp_path / f"broken-{file}"
        shutil.copytree(whole, broken)
        (broken / file).write_bytes((whole / file).read_bytes()[:200])
        with pytest.raises(UserError, match=message) as caught:
            restore_trainer(broken, make_trainer())
        assert "\n" not in str(caught.value)

    import pickle

    class Attack:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'executed')!r}, 'w')",)

    evil = tmp_path / "evil"
    shutil.copytree(whole, evil)
    (evil / "training.pt").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(UserError):
        restore_trainer(evil, make_trainer())
    assert not (tmp_path / "executed").exists()


def test_the_hasher_alone_can_be_loaded(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer()
    folder = run(trainer, "warmup", tmp_path / "warm", epochs=2)
    features = trainer.videos.fetch(torch.arange(5).numpy()).float()
    assert torch.equal(load_hasher(folder).codes(features), trainer.model.eval().hasher.codes(features))


def test_a_model_is_loaded_without_torchs_compiler(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    # Its import takes longer than everything else that a stage without training does with a model.
    folder = run(make_trainer(), "warmup", tmp_path / "warm", epochs=1)
    program = (
        "import sys; from pathlib import Path; from ssvh_model.training.checkpoint import load_model; "
        "load_model(Path(sys.argv[1])); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
