"""A project folder to work in, with a small dvc.yaml and params.yaml and nothing else; and a Ray cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.on_ray.nodes import cluster, objects, started

__all__ = ["cluster", "objects", "project", "started"]

PARAMS = """
seed: 1
warmup: {epochs: 2}
rounds:
  "1": {after: warmup, clusters: [5]}
  "2": {after: round-1, clusters: [7]}
"""
PIPELINE = """
stages:
  evaluate:
    cmd: "true"
    deps: [states]
    params: [rounds]
    outs: [pictures, runs/evaluate.json]
    metrics: [metrics/evaluation.json: {cache: false}]
  p2set:
    foreach: ${rounds}
    do:
      cmd: "true"
      deps: ["states/${item.after}", code]
      params: [seed, "rounds.${key}"]
      outs: ["states/round-${key}", "runs/p2set-${key}.json"]
  warmup:
    cmd: "true"
    deps: [code]
    params: [seed, warmup]
    outs: [states/warmup, runs/warmup.json]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a pipeline of four stages."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "SSVH_PARENT_RUN_ID",
        "DVC_STAGE",
        "PREFECT_API_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/one.py").write_text("x = 1\n")
    return tmp_path
