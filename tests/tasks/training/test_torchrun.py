"""A phase trained by two processes that torchrun starts, beside one that trains alone; torch's CPU
collectives.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from ssvh_model.errors import UserError
from ssvh_model.features import FeatureFile
from ssvh_model.progress import no_progress
from ssvh_model.training.checkpoint import load_hasher, load_history, load_weights
from ssvh_model.training.compressing import learn_compression
from ssvh_model.training.session import TrainingSession
from tasks.params.load import load_params
from tasks.params.sections import Params
from tasks.training.phase import run_phase
from tasks.training.settings import training_session
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureFile:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return FeatureFile(write_tiny_features(tmp_path / "features.h5"))


def session(file: FeatureFile, **changes: Any) -> tuple[TrainingSession, Params]:
    write_tiny_params(Path("params.yaml"), running__device="cpu", **changes)
    params = load_params()
    return training_session(params, file), params


def test_a_round_by_two_processes_ends_where_one_ends(file: FeatureFile) -> None:
    alone = session(file)
    warm = run_phase(
        *alone,
        "warmup",
        epochs=2,
        checkpoints=Path("warmup"),
        on_epoch=lambda row, seconds: None,
        progress=no_progress,
    )
    rows: dict[int, list[dict[str, Any]]] = {}
    counted: list[tuple[int, int]] = []
    states = {}
    first = alone[0].trainer().model.hasher
    for gpus, one in ((1, alone), (2, session(file, running__gpus=2))):
        rows[gpus] = []
        states[gpus] = run_phase(
            *one,
            "round-1",
            epochs=3,
            start=warm,
            counts=(3, 5),
            refresh_every=1,
            anchors=alone[0].cluster(first, (3, 5)),
            checkpoints=Path(f"with-{gpus}"),
            on_epoch=lambda row, seconds, gpus=gpus: rows[gpus].append(row),
            progress=lambda done, total: counted.append((done, total)),
        )
    assert counted[-1] == (180, 180)
    assert [row["epoch"] for row in rows[2]] == [3, 4, 5]
    assert load_history(states[2])[2:] == rows[2]
    for one, two in zip(rows[1], rows[2], strict=True):
        assert one.keys() == two.keys()
        assert two["loss"] == pytest.approx(one["loss"], rel=0.02)
        assert two["validation_gmap"] == pytest.approx(one["validation_gmap"], abs=0.1)
    expected, found = load_weights(states[1]), load_weights(states[2])
    change = {name: (expected[name] - weight).norm() for name, weight in load_weights(warm).items()}
    for name, weight in found.items():
        # Sums in another order may turn a bit over, and the weights part from there; by little beside what
        # they have learnt.
        assert (weight - expected[name]).norm() <= 0.2 * change[name] + 1e-4, name

    # The same folder by one process: all is done already.
    assert run_phase(
        *alone, "round-1", epochs=3, start=warm, anchors=(), counts=(3, 5), checkpoints=Path("with-2"),
        on_epoch=lambda row, seconds: None, progress=no_progress,
    ) == states[2]  # fmt: skip
    with pytest.raises(UserError, match="nowhere: this checkpoint does not fit"):
        run_phase(
            *session(file, running__gpus=2),
            "round-1",
            epochs=5,
            start=Path("nowhere"),
            counts=(3,),
            anchors=alone[0].cluster(first, (3,)),
            checkpoints=Path("impossible"),
            on_epoch=lambda row, seconds: None,
            progress=no_progress,
        )


def commands_below() -> dict[psutil.Process, list[str]]:
    """What the processes that this one has started run; earlier tests may have left some that have ended."""
    found = {}
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found[one] = one.cmdline()
    return found


@pytest.mark.parametrize(
    "killed", ["a trainer", pytest.param("torchrun", marks=[pytest.mark.slow, pytest.mark.nightly])]
)
def test_a_process_that_is_killed_ends_the_others_and_the_phase_goes_on_from_its_checkpoint(
    file: FeatureFile, killed: str
) -> None:
    together = session(file, running__gpus=2)
    reached: list[int] = []

    def train(epochs: int) -> Path:
        return run_phase(
            *together,
            "warmup",
            epochs=epochs,
            checkpoints=Path("warmup"),
            on_epoch=lambda row, seconds: reached.append(row["epoch"]) if seconds else None,
            progress=no_progress,
        )

    with ThreadPoolExecutor() as pool:
        training = pool.submit(train, 100_000)
        until = time.monotonic() + 120
        while not reached:
            assert time.monotonic() < until and not training.done()
            time.sleep(0.1)
        order = str((Path("warmup") / "together.json").resolve())
        editor = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", order])
        commands = commands_below()
        started = [one for one, command in commands.items() if order in command and one.pid != editor.pid]
        of_torchrun = {one: "torch.distributed.run" in commands[one] for one in started}
        assert sorted(of_torchrun.values()) == [False, False, True]
        next(one for one, is_it in of_torchrun.items() if is_it == (killed == "torchrun")).kill()
        with pytest.raises(UserError, match="one of 2 processes has ended"):
            training.result(timeout=120)
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert editor.poll() is None, "a program that has the same file open is nobody's trainer"
    editor.kill()
    last = max(reached)
    reached.clear()
    train(last + 2)
    assert min(reached) > last - 1
    assert torch.isfinite(
        load_weights(Path("warmup") / f"epoch-{last + 2:06d}")["hasher.embedding.weight"]
    ).all()


def test_two_processes_compress_longer_codes_as_the_first_one_does(file: FeatureFile) -> None:
    state = run_phase(
        *session(file, running__gpus=2, model__training_bits=24),
        "warmup",
        epochs=1,
        checkpoints=Path("warmup"),
        on_epoch=lambda row, seconds: None,
        progress=no_progress,
    )
    alone, params = session(file, model__training_bits=24)
    hasher = load_hasher(state)
    assert hasher.compression is not None
    learnt = hasher.compression.projection.clone()
    learn_compression(hasher, alone.encode(hasher, alone.videos, compressed=False), seed=params.seed)
    torch.testing.assert_close(learnt, hasher.compression.projection, atol=1e-4, rtol=0)
