# syntax=docker/dockerfile:1
#
#   docker build --target train -t bonestrap:0.1.0-gpu .
#   docker build --target train -t bonestrap:0.1.0-cpu --build-arg PLATFORM=cpu --build-arg TORCH_INDEX=... .
#   docker build --target mlflow -t bonestrap-mlflow:0.1.0 .
#
# TORCH_INDEX is a package index that holds torch's CPU build; without it the CPU image works and carries CUDA in vain.
# Ray's base must be of the Ray and the Python that constraints.txt was tested with; tests/k8s holds both to it.

ARG RAY_VERSION=2.60.0
ARG PLATFORM=gpu

# ---------------------------------------------------------------------- wheels of everything, as pinned
FROM rayproject/ray:${RAY_VERSION}-py311-${PLATFORM} AS wheels
ARG TORCH_INDEX=""
WORKDIR /home/ray/build
COPY --chown=ray:users pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=ray:users bonestrap bonestrap
RUN python -m pip wheel --no-cache-dir --wheel-dir wheels --constraint constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} ".[train,plots,deepspeed]" \
    && rm wheels/bonestrap-*.whl

# ---------------------------------------------------------------------- what trains
FROM rayproject/ray:${RAY_VERSION}-py311-${PLATFORM} AS train
RUN --mount=type=bind,from=wheels,source=/home/ray/build/wheels,target=/wheels \
    python -m pip install --no-cache-dir --no-index --no-deps --force-reinstall /wheels/*.whl
# The tree is not installed: it is what PYTHONPATH names, here and on every worker, and nobody in the container owns it.
COPY --chown=root:root bonestrap /opt/bonestrap/bonestrap
COPY --chown=root:root shards /opt/bonestrap/shards
COPY --chown=root:root distributed /opt/bonestrap/distributed
COPY --chown=root:root evaluation /opt/bonestrap/evaluation
COPY --chown=root:root reports /opt/bonestrap/reports
COPY --chown=root:root experiments /opt/bonestrap/experiments
COPY --chown=root:root launch /opt/bonestrap/launch
COPY --chown=root:root LICENSE /opt/bonestrap/
ENV PYTHONPATH=/opt/bonestrap PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/bonestrap
# Fails the build where another package of the name `distributed` would be found first, or where a pin is not what runs.
RUN python -c 'import launch.training.training, distributed.cluster, shards.packing.pack, bonestrap, ray, torch, mlflow' \
    && python -m pip check
# Ray's user by number: `runAsNonRoot` looks for one.
USER 1000:100

# ---------------------------------------------------------------------- what tracks
FROM python:3.11.14-slim-trixie AS mlflow-wheels
WORKDIR /build
COPY constraints.txt ./
RUN python -m pip wheel --no-cache-dir --wheel-dir wheels --constraint constraints.txt mlflow psycopg2-binary boto3

FROM python:3.11.14-slim-trixie AS mlflow
RUN --mount=type=bind,from=mlflow-wheels,source=/build/wheels,target=/wheels \
    python -m pip install --no-cache-dir --no-index --find-links /wheels mlflow psycopg2-binary boto3
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /tmp
USER 1000:1000
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]
