"""How much sooner two workers finish a study than one. `python benchmarks/tuning_workers.py`

Both run the same number of trials of the same length over PostgreSQL, started for this and thrown away. Every
worker has one thread; time counts from the first trial's beginning to the last one's end, so that starting
programs does not count. It needs a core for each worker.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.machine import machine, write_result  # noqa: E402
from flows.running.environment import prepare_environment  # noqa: E402
from flows.servers.server import prefect_server  # noqa: E402
from ssvh_model.features import FeatureMeta, write_feature_file  # noqa: E402
from tasks import paths  # noqa: E402
from tasks.machine import programs  # noqa: E402
from tests.postgresql import PostgreSQL, find_programs  # noqa: E402
from tests.tasks.experiments.small import features, write_tiny_params  # noqa: E402

MOST = 0.6
EPOCHS = 12
SPACE = {"losses.beta": {"from": 0.01, "to": 1.0, "scale": "log"}}


def write_features(path: Path, videos: int) -> None:
    """Videos of five kinds, six tenths of them for training and two to validate with."""
    write_feature_file(
        path,
        features(videos),
        ids=[f"video {row}" for row in range(videos)],
        labels=[(f"kind {row % 5}",) for row in range(videos)],
        splits=[
            "train" if row % 10 < 6 else "validation" if row % 10 < 8 else "query" for row in range(videos)
        ],
        meta=FeatureMeta("none", "", 1),
    )


def seconds(workers: int, trials: int, storage: str) -> tuple[float, int]:
    """Seconds that a study takes, and the trials of its busiest worker."""
    import optuna

    extra = {"OPTUNA_STORAGE": storage, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    name = f"workers-{workers}"
    command = ["-m", "flows.cli", "tune", "--features", "features.h5", "--study", name]
    options = ["--trials", str(trials), "--workers", str(workers)]
    with open(os.devnull, "wb") as nowhere:
        process = programs.start([sys.executable, *command, *options], extra=extra, output=nowhere)
    try:
        assert process.wait() == 0
    finally:
        programs.stop(process)
    ended = optuna.load_study(study_name=name, storage=storage).get_trials()
    assert len(ended) == trials and all(trial.state.name == "COMPLETE" for trial in ended)
    began = min(trial.datetime_start for trial in ended if trial.datetime_start)
    finished = max(trial.datetime_complete for trial in ended if trial.datetime_complete)
    by: dict[str, int] = {}
    for trial in ended:
        by[trial.user_attrs["ssvh.worker"]] = by.get(trial.user_attrs["ssvh.worker"], 0) + 1
    return (finished - began).total_seconds(), max(by.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--videos", type=int, default=1000, help="Of which six tenths are for training.")
    options = parser.parse_args()
    postgresql = find_programs()
    if postgresql is None:
        print("PostgreSQL's programs initdb and postgres are not on this machine: nothing measured")
        return 0
    server = PostgreSQL(postgresql)
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        prepare_environment()
        (Path(folder) / "dvc.yaml").write_text("stages: {}\n")
        write_features(Path("features.h5"), options.videos)
        write_tiny_params(
            Path("params.yaml"),
            rounds={"1": {"after": "warmup", "clusters": [5, 10], "epochs": EPOCHS, "refresh_every": 2}},
            tuning__search=list(SPACE),
            tuning__space=SPACE,
            tuning__least_epochs=EPOCHS,  # none is stopped early: all are of one length
        )
        try:
            server.start()
            with prefect_server():
                # In turns, and the fastest counts: on a shared machine the load changes meanwhile.
                for workers in [1, 2] * options.repeats:
                    # Or this study would find what the one before has trained.
                    shutil.rmtree(paths.WORK, ignore_errors=True)
                    storage = server.create(f"workers-{time.time_ns()}")
                    taken, most = seconds(workers, options.trials, storage)
                    print(f"workers: {workers}, {options.trials} trials in {taken:.1f} s", flush=True)
                    known = measured.get(str(workers))
                    if known is None or taken < known["seconds"]:
                        measured[str(workers)] = {"seconds": taken, "trials_of_the_busiest": most}
        finally:
            server.remove()
            os.chdir(ROOT)
    ratio = measured["2"]["seconds"] / measured["1"]["seconds"]
    print(f"two workers take {ratio:.2f} of the time of one; at most {MOST} is wanted")
    write_result(
        "tuning_workers",
        {
            "trials": options.trials,
            "repeats": options.repeats,
            "workers": measured,
            "ratio": ratio,
            "wanted_at_most": MOST,
            "machine": machine(),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
