"""The profile of docs/outgrown.env, as it stands there but for the addresses: PostgreSQL and an S3 server,
both real programs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient

from tests.conftest import REPOSITORY
from tests.flows.conftest import Project
from tests.postgresql import PostgreSQL
from tests.services import mlflow_service, prefect_service, s3_service

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1200)]


def profile() -> dict[str, str]:
    lines = (REPOSITORY / "docs/outgrown.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[str]:
    """An S3 server without any bucket, and its address."""
    server, address = s3_service(tmp_path)
    try:
        server.start()
        yield address
    finally:
        server.stop()


def test_the_profile_keeps_everything_in_postgresql_and_the_object_store(
    stub_project: Project,
    prefect_postgresql: PostgreSQL,
    objects: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import boto3
    import psycopg

    for ready in ("mlflow.db", ".prefect/prefect.db"):
        (stub_project.folder / ready).unlink()
    settings = profile()
    for name, value in settings.items():
        if value.startswith("postgresql"):
            address = urlsplit(value)
            settings[name] = prefect_postgresql.url(address.path[1:], address.scheme.partition("+")[2])
            prefect_postgresql.create(address.path[1:])
        elif "http://objects" in value:
            settings[name] = objects
    servers = {name: settings.pop(name) for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")}
    assert all("services" in address for address in servers.values())
    bucket = urlsplit(settings["MLFLOW_ARTIFACTS_DESTINATION"]).netloc
    store = boto3.client(
        "s3",
        endpoint_url=objects,
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        region_name=settings["AWS_DEFAULT_REGION"],
    )
    store.create_bucket(Bucket=bucket)

    folder = tmp_path_factory.mktemp("services")
    mlflow, settings["MLFLOW_TRACKING_URI"] = mlflow_service(folder, extra=settings, embedded=False)
    prefect, settings["PREFECT_API_URL"] = prefect_service(folder, extra=settings)
    try:
        mlflow.start()
        prefect.start()
        stub_project.environment.update(settings)
        for command in (
            ("remote", "add", "--default", "store", f"s3://{bucket}/dvc"),
            ("remote", "modify", "store", "endpointurl", objects),
        ):
            assert stub_project.run("dvc", *command)[0] == 0
        stub_project.behave("second", "picture")
        status, output = stub_project.run("flows.pipeline")
        assert status == 0, output
        status, output = stub_project.run("dvc", "push")
        assert status == 0, output

        # In MLflow, the file in the object store; in Prefect, the run.
        client = MlflowClient(settings["MLFLOW_TRACKING_URI"])
        run = client.get_run(stub_project.record("second")["run_id"])
        assert run.data.metrics["loss"] > 0
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["behave-second"]
        with SyncPrefectClient(api=settings["PREFECT_API_URL"]) as prefect_client:
            flow_run = prefect_client.read_flow_run(run.data.tags["ssvh.prefect_flow_run"])
        assert flow_run.state is not None and flow_run.state.is_completed()
    finally:
        prefect.stop()
        mlflow.stop()

    with psycopg.connect(prefect_postgresql.url("mlflow").replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM runs WHERE status = 'FINISHED'").fetchone()
        assert row == (3,)
    with psycopg.connect(prefect_postgresql.url("prefect").replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT count(*) FROM flow_run").fetchone()
        assert row == (1,)
    keys = [one["Key"] for one in store.list_objects_v2(Bucket=bucket)["Contents"]]
    assert any(key.startswith("mlflow/") and key.endswith("behave-second") for key in keys)
    assert sum(key.startswith("dvc/") for key in keys) >= 4
    assert not (stub_project.folder / "mlflow.db").exists()
    assert not list(stub_project.folder.glob(".prefect/*.db"))

    # Another machine: a clone, and nothing else.
    clone = tmp_path_factory.mktemp("clone")
    for name in ("dvc.yaml", "dvc.lock", "params.yaml", "stub.py", ".dvc/config", ".dvcignore"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(stub_project.folder / name, clone / name)
    there = Project(clone, {**stub_project.environment, "PREFECT_HOME": str(clone / ".prefect")})
    status, output = there.run("dvc", "pull")
    assert status == 0, output
    assert (clone / "out/second").read_text() == (stub_project.folder / "out/second").read_text()
    assert "up to date" in there.run("dvc", "repro")[1]
