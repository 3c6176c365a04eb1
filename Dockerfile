# syntax=docker/dockerfile:1
# The locked environment with the project in it: every service of compose.yaml but the database and the object store.
#   docker build -t autossvh .                                  # torch for processors
#   docker build -t autossvh:gpu --build-arg TORCH=cu130 .      # torch for NVIDIA GPUs, with CUDA in it
FROM python:3.12-slim AS environment

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc g++ \
 && rm -rf /var/lib/apt/lists/*

# The packages first: they change less often than the code. uv knows where each of torch's builds is.
ARG TORCH=cpu
WORKDIR /source
COPY requirements.lock hashes.lock ./
ENV UV_LINK_MODE=copy
RUN python -m venv /opt/venv \
 && sed -n '/^uv==/,/[^\\]$/p' hashes.lock > uv.lock \
 && pip install --no-cache-dir --require-hashes -r uv.lock \
 && uv pip install --no-cache --compile-bytecode --torch-backend "$TORCH" --python /opt/venv/bin/python \
      -r hashes.lock "$(grep -o '^torch==[0-9.]*' requirements.lock)"
COPY . .
RUN uv pip install --no-cache --compile-bytecode --no-deps --python /opt/venv/bin/python .


FROM python:3.12-slim

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git make \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory /project \
 && useradd --uid 1000 ssvh

COPY --from=environment /opt/venv /opt/venv
COPY --chown=ssvh . /project

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    GIT_PYTHON_REFRESH=quiet \
    OMP_WAIT_POLICY=PASSIVE \
    GOMP_SPINCOUNT=1000 \
    # Whoever the container runs as may have no home.
    HOME=/tmp \
    SSVH_PROJECT=/project

# The folder that prefect.yaml's pull step goes to; where runs leave their results, mount a volume here that holds a project.
WORKDIR /project
USER 1000

CMD ["ssvh", "--help"]
