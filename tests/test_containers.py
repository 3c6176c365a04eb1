"""compose.yaml, the Dockerfile and deploy: what they say together."""

from __future__ import annotations

import re
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.servers.search.measuring import Measures
from tests.conftest import REPOSITORY

COMPOSE = (REPOSITORY / "compose.yaml").read_text()
SERVICES: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
KUBERNETES = [
    one
    for file in sorted((REPOSITORY / "deploy/kubernetes").glob("*.yaml"))
    for one in YAML(typ="safe").load_all(file.read_text())
]


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
    assert ".env" in (REPOSITORY / ".dockerignore").read_text().splitlines()


def test_the_image_is_not_run_as_root() -> None:
    assert re.findall(r"^USER (\w+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE) == ["1000"]
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods().values())


def test_kubernetes_starts_what_compose_starts() -> None:
    gpu = YAML(typ="safe").load((REPOSITORY / "compose.gpu.yaml").read_text())["services"]
    ours = {name: {**service, **gpu.get(name, {})} for name, service in SERVICES.items()}
    commands = {name: one["command"] for name, one in ours.items() if "autossvh" in one["image"]}
    there = {name: pod["containers"][0]["command"] for name, pod in pods().items()}
    assert {name: command for name, command in there.items() if name != "project"} == commands


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
        assert rule["annotations"]["runbook"] == f"how-to/alerts/#{rule['alert'].lower()}"
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
