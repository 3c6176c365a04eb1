"""`ssvh setup`: the databases and buckets that the services keep their data in."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from ssvh_model.errors import UserError
from tasks.machine.services import without_passwords

# Variables that name a database; others than PostgreSQL's make theirs themselves.
DATABASES = (
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "MLFLOW_BACKEND_STORE_URI",
    "OPTUNA_STORAGE",
    "SSVH_INDEX_URL",
)
BUCKETS = ("MLFLOW_ARTIFACTS_DESTINATION",)
# Each server has it. One is connected to it to make another.
MAINTENANCE = "postgres"
SECONDS_TO_CONNECT = 10


def set_up() -> None:
    """Make each PostgreSQL database and each bucket that the environment names and that is not there, and
    print a line for each.

    What is there stays as it is. The tables are made by those who use them.

    Raises:
        UserError: nothing is named, or a server does not let it be made; the line names the variable.
    """
    addresses = {
        name: os.environ[name] for name in DATABASES if os.environ.get(name, "").startswith("postgres")
    }
    buckets = {name: os.environ[name] for name in BUCKETS if os.environ.get(name, "").startswith("s3://")}
    if not addresses and not buckets:
        raise UserError(
            f"nothing to set up: none of {', '.join(DATABASES)} names a PostgreSQL database, and {BUCKETS[0]} no bucket (s3://...)"
        )
    for variable, address in addresses.items():
        print(f"database {_database(variable, address)}", flush=True)
    for variable, address in buckets.items():
        print(f"bucket {_bucket(variable, urlsplit(address).netloc)}", flush=True)


def _database(variable: str, address: str) -> str:
    import psycopg
    from psycopg import sql
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        # libpq knows no drivers.
        url = make_url(address).set(drivername="postgresql")
    except ArgumentError:
        raise UserError(
            f"{variable} is no address of a database; allowed is such as postgresql://user@host/name"
        ) from None
    if not url.database:
        raise UserError(f"{variable} is {without_passwords(address)}, which names no database of the server")
    there = url.set(database=MAINTENANCE).render_as_string(hide_password=False)
    try:
        with psycopg.connect(there, autocommit=True, connect_timeout=SECONDS_TO_CONNECT) as connection:
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(known, (url.database,)).fetchone():
                return f"{url.database}: there"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(url.database)))
    except psycopg.errors.DuplicateDatabase:
        return f"{url.database}: there"  # another has made it meanwhile
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{variable} is {without_passwords(address)}; its database can't be made: {without_passwords(reason)}"
        ) from error
    return f"{url.database}: made"


def _bucket(variable: str, name: str) -> str:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise UserError(
            f"{variable} names a bucket; `pip install 'autossvh[s3]'` brings what buckets need"
        ) from None
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    try:
        store = boto3.client("s3", endpoint_url=endpoint)
        if any(one["Name"] == name for one in store.list_buckets()["Buckets"]):
            return f"{name}: there"
        region = store.meta.region_name
        # The one region that may not be named.
        where = (
            {}
            if region in (None, "us-east-1")
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        store.create_bucket(Bucket=name, **where)
    except (BotoCoreError, ClientError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{variable}: bucket {name} can't be made: {reason}") from error
    return f"{name}: made"
