"""benchmarks/quality.py from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from benchmarks.quality import Corpus, Training
from ssvh_model.errors import UserError
from tasks.params.load import load_params
from tests.conftest import REPOSITORY
from tests.tasks.experiments.small import write_tiny_features, write_tiny_params

pytestmark = pytest.mark.timeout(700)
SCRIPT = [sys.executable, str(REPOSITORY / "benchmarks/quality.py"), "--name", "of-a-test"]


def wait_until(happened: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < until, what
        time.sleep(0.1)


@pytest.mark.slow
def test_its_workers_end_when_it_is_killed_and_leave_nothing(tmp_path: Path) -> None:
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(tmp_path / "params.yaml", warmup__epochs=100_000)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [*SCRIPT, "--corpus", "tiny=features.h5", "--workers", "2", "--bits", "16", "--seeds", "1", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)},
    )
    started: list[psutil.Process] = []
    try:

        def training() -> bool:
            assert process.poll() is None
            return len({path.parents[1] for path in temporary.glob("*/warmup/epoch-*")}) == 2

        wait_until(training, "no two trainings")
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 2
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(started, timeout=250)
        assert not left, [one.cmdline() for one in left]
        assert not list(temporary.glob("*/warmup"))
    finally:
        process.kill()
        for one in started:
            if one.is_running():
                one.kill()


@pytest.fixture
def no_results_left() -> Iterator[Path]:
    """Where the script writes its results in a test."""
    results = REPOSITORY / "benchmarks/results/of-a-test.json"
    yield results
    results.unlink(missing_ok=True)


@pytest.mark.slow
def test_a_corpus_that_fails_is_a_line_and_what_is_trained_stays(
    tmp_path: Path, no_results_left: Path
) -> None:
    write_tiny_features(tmp_path / "features.h5")
    write_tiny_params(tmp_path / "params.yaml", warmup__epochs=2, rounds={})
    (tmp_path / "presets").mkdir()
    # More clusters than the demo corpus of params.yaml allows, and than this one: that becomes half of its
    # videos.
    (tmp_path / "presets/half.yaml").write_text(
        "sampler: {mask_ratio: 0.5}\n"
        'rounds: {"1": {after: warmup, clusters: [1000], epochs: 1, refresh_every: 1}}\n'
    )
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["features"] = np.zeros((4, 8, 16), np.float16)
        file["is_query"] = [True, False, False, False]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SCRIPT, "--corpus", "tiny=features.h5", "--bits", "16", "--seeds", "1", "2", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
        )

    first = run("--corpus", "bare=bare.h5", "--against", "half", "--against", "sampler.kind=random")
    assert first.returncode == 1
    assert first.stderr.count("bare.h5: data set 'labels' is missing") == 6, first.stderr
    summary = json.loads(no_results_left.read_text())["summary"]
    assert {(row["corpus"], row["setting"], row["seeds"]) for row in summary} == {
        ("tiny", "own", 2),
        ("tiny", "half", 2),
        ("tiny", "sampler.kind=random", 2),
    }
    own = next(row for row in summary if row["setting"] == "own")
    assert set(own["over"]) == {"itq", "float", "half", "sampler.kind=random"}
    share = own["over"]["itq"]
    assert share["share"] == pytest.approx(own["gmap"] / own["itq_gmap"] - 1)
    assert share["low"] <= share["share"] <= share["high"]

    again = run()
    assert again.returncode == 0 and "2 of 2 trainings are there" in again.stdout, again.stderr
    assert "GMAP" in again.stdout and "tiny" in again.stdout
    other = run("--set", "losses.gamma=1", "--seeds", "1")
    assert "1 of 1, 0 min left: tiny, own, 16 bits, seed 1: GMAP" in other.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("features.h5", "--corpus features.h5: allowed is NAME=FILE or NAME=FILE@DATASET"),
        ("=features.h5", "allowed is NAME=FILE"),
        ("tiny=nowhere.h5", "there is no file nowhere.h5"),
    ],
)
def test_what_is_no_corpus_is_named(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Corpus.of(text)


def test_corpora_that_differ_in_their_shards_alone_are_two(tmp_path: Path) -> None:
    joined = tmp_path / "features.h5"
    layout = h5py.VirtualLayout((4, 2, 3), np.float16)
    layout[:] = h5py.VirtualSource("shard.h5", "features", (4, 2, 3))
    with h5py.File(joined, "w") as file:
        file.create_virtual_dataset("features", layout)
    results = []
    for value in (1, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        with h5py.File(folder / "shard.h5", "w") as shard:
            shard["features"] = np.full((4, 2, 3), value, np.float16)
        shutil.copy(joined, folder)
        corpus = Corpus("demo", folder / "features.h5", "labels", False)
        results.append(Training(corpus, "own", load_params(REPOSITORY / "params.yaml")).result)
    assert results[0] != results[1]
