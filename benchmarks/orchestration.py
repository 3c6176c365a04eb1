"""What DVC, Prefect and MLflow cost: seconds a stage over the bare library call, and a flow run in which
nothing changed.

A Prefect server runs throughout, as it does for a team. The stages train a tiny model and say how long that
took them, imports of the library included; everything else of the flow's time is orchestration. `python
benchmarks/orchestration.py`
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.machine import machine, write_result  # noqa: E402
from flows.running.environment import prepare_environment  # noqa: E402
from flows.servers import server  # noqa: E402
from tasks.machine import programs  # noqa: E402
from tasks.records.store import Store  # noqa: E402

MOST_A_STAGE = 3.0
MOST_UNCHANGED = 4.0

PROGRAM = """
import sys
import tasks.stages
tasks.stages.__path__.append("stages")
from tasks.stage import main
sys.exit(main(sys.argv[1:]))
"""
FUNCTION = """
import json, pathlib, time

from tasks.pipeline.open_stage import open_stage
from tasks.pipeline.stage_task import stage_task


@stage_task()
def {name}():
    with open_stage("{name}") as stage:
        work(stage)


def work(stage):
    began, worked = time.perf_counter(), time.process_time()
    import numpy as np
    import torch
    from ssvh_model.features import FeatureFile, FeatureMeta, write_feature_file
    from tasks.training.phase import run_phase
    from tasks.training.settings import training_session

    features = stage.work.folder / "features.h5"
    write_feature_file(
        features, np.random.default_rng(0).normal(size=(64, 25, 64)), ids=[str(row) for row in range(64)],
        labels=[()] * 64, splits=["train"] * 64, meta=FeatureMeta("", "", 0),
    )

    def on_epoch(row, seconds):
        stage.run.log_metrics({{"loss": row["loss"]}}, step=row["epoch"])

    run_phase(
        training_session(stage.params, FeatureFile(features)), stage.params, "warmup", epochs=5, checkpoints=stage.work.folder, on_epoch=on_epoch, progress=lambda done, total: None
    )
    library = {{"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - worked}}
    out = stage.work.folder / "out"
    out.write_text(json.dumps(library))
    stage.work.publish({{pathlib.Path("out/{name}"): out}})
"""


def write_project(folder: Path, stages: int) -> list[str]:
    """A project of `stages` stages, each after the one before; their names."""
    names = [f"stage{number}" for number in range(1, stages + 1)]
    (folder / "stages").mkdir()
    (folder / "program.py").write_text(PROGRAM)
    lines = ["stages:"]
    for before, name in zip(["", *names], names, strict=False):
        (folder / f"stages/{name}.py").write_text(FUNCTION.format(name=name))
        deps = f"    deps: [out/{before}]\n" if before else ""
        lines.append(
            f"  {name}:\n    cmd: python program.py {name}\n{deps}    params: [seed]\n    outs: [out/{name}, runs/{name}.json]"
        )
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    params = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("start: itq ", "start: random ", 1)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    return names


def timed_run(*command: str) -> dict[str, float]:
    """Wall and processor seconds of a command and all that it started."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if status := programs.run([sys.executable, "-m", *command], extra={}):
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - began, "processor_seconds": processor}


def measure(stages: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_project(folder, stages)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        prepare_environment()
        server.SECONDS_TO_START = 900.0  # a busy machine shall not end this
        Store()  # makes MLflow's tables, once in a project's life
        with server.prefect_server():
            first = timed_run("flows.pipeline")
            said = [json.loads((folder / f"out/{one}").read_text()) for one in names]
            unchanged = [timed_run("flows.pipeline") for _ in range(2)]
        os.chdir(ROOT)
    library = {unit: sum(one[unit] for one in said) for unit in first}
    best = min(unchanged, key=lambda one: one["seconds"])
    return {
        "stages": stages,
        "flow": first,
        "library_in_it": library,
        "a_stage_over_the_library": {unit: (first[unit] - library[unit]) / stages for unit in first},
        "most_seconds_a_stage": MOST_A_STAGE,
        "unchanged": best,
        "most_seconds_unchanged": MOST_UNCHANGED,
        "machine": machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=9)
    result = measure(parser.parse_args().stages)
    over, unchanged = result["a_stage_over_the_library"], result["unchanged"]
    rows = (
        ("a stage over the bare library call", over, MOST_A_STAGE),
        ("a flow run in which nothing changed", unchanged, MOST_UNCHANGED),
    )
    for what, took, most in rows:
        print(
            f"{what:36} {took['seconds']:5.1f} s, {took['processor_seconds']:.1f} s of them at work; at most {most:g}"
        )
    if result["machine"]["shared_with_other_work"]:
        print("the machine was busy with other work: only the seconds at work can be compared")
    write_result("orchestration", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
