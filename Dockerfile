# The locked environment with the project in it, for docker and Kubernetes work pools (docs/how-to/schedules-and-workers.md).
#   docker build -t autossvh .
# On a machine with NVIDIA GPUs the same image is started with `--gpus`; torch from PyPI brings CUDA with it. For a small image without:
#   docker build -t autossvh --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.12-slim

RUN apt-get update \
 && apt-get install --yes --no-install-recommends git gcc g++ make \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory /project

ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    GIT_PYTHON_REFRESH=quiet \
    OMP_WAIT_POLICY=PASSIVE

# The folder that prefect.yaml's pull step goes to; where runs leave their results, mount a volume here that holds a clone.
ENV SSVH_PROJECT=/project
WORKDIR /project

# The packages first: they change less often than the code.
ARG TORCH_INDEX=
COPY requirements.lock pyproject.toml ./
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" $(grep -o '^torch==[0-9.]*' requirements.lock); fi \
 && pip install -r requirements.lock

COPY . .
RUN pip install --no-deps --editable .

CMD ["ssvh", "--help"]
