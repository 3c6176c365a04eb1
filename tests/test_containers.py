"""compose.yaml, the Dockerfile and deploy: what they say together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.servers.search.measuring import Measures
from tests.conftest import REPOSITORY

REPOSITORY_PAGE = "https://github.com/autossvh/autossvh"
COMPOSE = (REPOSITORY / "compose.yaml").read_text()
SERVICES: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
KUBERNETES = [
    one
    for file in sorted((REPOSITORY / "deploy/kubernetes").glob("*.yaml"))
    for one in YAML(typ="safe").load_all(file.read_text())
]
EXPORTER = "prefect-exporter"


def pods() -> dict[str, Any]:
    kinds = [one for one in KUBERNETES if one["kind"] in ("Deployment", "Job")]
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in kinds}


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any("hostPort" in str(pod) or "hostNetwork" in str(pod) for pod in pods().values())
    types = {one["spec"].get("type", "ClusterIP") for one in KUBERNETES if one["kind"] == "Service"}
    assert types == {"ClusterIP"}


def test_no_password_is_in_the_repository() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    lines = (REPOSITORY / "docs/compose.env").read_text().splitlines()
    known = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    assert known == dict.fromkeys(asked, "")
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert {"/.env", "/deploy/kubernetes/addresses.env"} <= set(ignored)
    outside = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert {".env", "outgrown.env", "deploy/kubernetes/addresses.env", ".dvc/config.local"} <= set(outside)


def test_kubernetes_is_given_all_of_its_files() -> None:
    folder = REPOSITORY / "deploy/kubernetes"
    given = YAML(typ="safe").load((folder / "kustomization.yaml").read_text())
    assert {*given["resources"], "kustomization.yaml"} == {file.name for file in folder.glob("*.yaml")}
    assert {one["name"] for one in given["images"]} == {
        container["image"] for pod in pods().values() for container in pod["containers"]
    }


def test_the_gpu_worker_has_torch_for_gpus() -> None:
    (worker,) = pods()["worker-gpu"]["containers"]
    assert worker["image"] == "autossvh-gpu"
    assert "nvidia.com/gpu" in worker["resources"]["limits"]


def test_jobs_make_room_for_the_next_ones() -> None:
    jobs = [one for one in KUBERNETES if one["kind"] == "Job"]
    assert len(jobs) == 3
    assert all(one["spec"]["ttlSecondsAfterFinished"] <= 3600 for one in jobs)


def test_a_project_that_was_half_copied_is_copied_anew(tmp_path: Path) -> None:
    (container,) = pods()["project"]["containers"]
    shell, flag, script = container["command"]
    source, claim = tmp_path / "project", tmp_path / "claim"
    for folder in (source / ".dvc", claim):
        folder.mkdir(parents=True)
    (source / "dvc.yaml").write_text("stages: {}\n")
    (source / ".dvc/config").write_text("[core]\n")
    (source / "params.yaml").write_text("seed: 1\n")
    script = script.replace("/project", str(source)).replace("/claim", str(claim))
    without = {"PATH": str(tmp_path / "empty")}
    assert subprocess.run([shutil.which(shell) or shell, flag, script], env=without).returncode != 0
    assert not (claim / "dvc.yaml").exists()
    for _ in range(2):
        subprocess.run([shell, flag, script], check=True)
        assert sorted(path.name for path in claim.iterdir()) == [".dvc", "dvc.yaml", "params.yaml"]
        (claim / "params.yaml").write_text("seed: 2\n")
    assert (claim / "params.yaml").read_text() == "seed: 2\n"


def test_the_image_is_not_run_as_root() -> None:
    assert re.findall(r"^USER (\w+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE) == ["1000"]
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods().values())


def test_kubernetes_starts_what_compose_starts() -> None:
    gpu = YAML(typ="safe").load((REPOSITORY / "compose.gpu.yaml").read_text())["services"]
    ours = {name: {**service, **gpu.get(name, {})} for name, service in SERVICES.items()}
    commands = {name: one["command"] for name, one in ours.items() if "autossvh" in one["image"]}
    there = {name: pod["containers"][0].get("command") for name, pod in pods().items()}
    alone_there = ("project", EXPORTER)
    assert {name: command for name, command in there.items() if name not in alone_there} == commands


def test_the_exporter_is_the_same_everywhere_and_is_asked_where_it_listens() -> None:
    monitoring = YAML(typ="safe").load((REPOSITORY / "compose.monitoring.yaml").read_text())["services"]
    images = YAML(typ="safe").load((REPOSITORY / "deploy/kubernetes/kustomization.yaml").read_text())[
        "images"
    ]
    tags = {one["name"]: str(one["newTag"]) for one in images}
    (container,) = pods()[EXPORTER]["containers"]
    assert f":-{container['image']}:{tags[container['image']]}}}" in monitoring[EXPORTER]["image"]
    there = {one["name"]: one["value"] for one in container["env"]}
    ours = monitoring[EXPORTER]["environment"]
    assert {name: there[name] for name in ours} == ours
    asked = YAML(typ="safe").load((REPOSITORY / "deploy/prometheus/prometheus.yaml").read_text())
    services = [one for one in KUBERNETES if one["kind"] == "Service"]
    listening = {f"{one['metadata']['name']}:{one['spec']['ports'][0]['port']}" for one in services}
    targets = [job["static_configs"][0]["targets"][0] for job in asked["scrape_configs"]]
    assert f"{EXPORTER}:8000" in targets and {*targets} <= listening


def test_settings_of_mlflow_are_the_same() -> None:
    (mlflow,) = pods()["mlflow"]["containers"]
    there = {one["name"]: one["value"] for one in mlflow["env"]}
    ours = SERVICES["mlflow"]["environment"]
    assert there["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == ours["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"]
    assert there["MLFLOW_SERVER_ALLOWED_HOSTS"].startswith(ours["MLFLOW_SERVER_ALLOWED_HOSTS"])


def test_every_alert_has_its_instructions_and_measures_what_there_is() -> None:
    rules = YAML(typ="safe").load((REPOSITORY / "deploy/prometheus/alerts.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    headings = re.findall(r"^## (\w+)$", (REPOSITORY / "docs/how-to/alerts.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in alerts] == headings
    for rule in alerts:
        address = f"{REPOSITORY_PAGE}/blob/main/docs/how-to/alerts.md#{rule['alert'].lower()}"
        assert rule["annotations"]["runbook"] == address
    named = set(re.findall(r"ssvh_\w+", " ".join(rule["expr"] for rule in alerts)))
    service = Measures(
        SimpleNamespace(ready=False, decoding=SimpleNamespace(deaths=0)), SimpleNamespace(now=0)
    )
    measured = {sample.name for one in service.registry.collect() for sample in one.samples}
    measured |= {f"{one.name}_total" for one in service.registry.collect() if one.type == "counter"}
    measured |= {f"{one.name}_bucket" for one in service.registry.collect() if one.type == "histogram"}
    assert named <= measured


def test_alerts_are_raised_by_what_they_are_for() -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool, which comes with Prometheus, is not installed")
    rules = REPOSITORY / "deploy/prometheus/alerts_test.yaml"
    tested = subprocess.run([promtool, "test", "rules", str(rules)], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_locked_package_has_its_hashes_but_torch() -> None:
    locked = re.findall(r"^[\w.-]+==\S+", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    hashed = re.findall(
        r"^([\w.-]+==\S+)[^\n]*\\\n +--hash=sha256:[0-9a-f]{64}",
        (REPOSITORY / "hashes.lock").read_text(),
        re.MULTILINE,
    )
    assert hashed == [one for one in locked if not one.startswith("torch==")]
