# One image for both kinds of host: the PyTorch that pip installs carries CUDA and runs without a GPU as well.
#
#   docker compose up                    on a host with an NVIDIA GPU
#   docker compose --profile cpu up      on one without
#
# Where pip needs settings of its own (a proxy, a mirror, a certificate), hand it a pip.conf that leaves no trace
# in the image: docker build --secret id=pip_conf,src=$HOME/.config/pip/pip.conf .
#
# scripts/build-image-without-docker.sh builds and runs this file on a Debian host with no container engine.

# ---- base: what builds and what runs have in common -------------------------------------------------------------
FROM debian:13.7-slim AS base
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

# ---- dependencies: five gigabytes that only a change of pyproject.toml makes anew --------------------------------
FROM base AS dependencies
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*
# pip lives in /pip and installs into /venv, so that /venv, which is shipped, has none.
RUN python3 -m venv /pip && python3 -m venv --without-pip /venv
COPY pyproject.toml /build/
# Triton, static libraries and headers serve compilers, and the last stage has no compiler.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    python3 -c "import tomllib; print(*tomllib.load(open('/build/pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > /build/requirements.txt \
    && /pip/bin/pip --python /venv/bin/python install --no-cache-dir --requirement /build/requirements.txt \
    && /pip/bin/pip --python /venv/bin/python uninstall --yes triton \
    && find /venv -name '*.a' -delete \
    && find /venv -type d -name include -path '*/site-packages/*' -prune -exec rm -rf {} +

# ---- app: the project itself, a few megabytes that every change makes anew ---------------------------------------
FROM dependencies AS app
WORKDIR /build
COPY . .
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf,required=false \
    /pip/bin/pip --python /venv/bin/python install --no-cache-dir --no-deps --target /app .

# ---- what is shipped: no pip, no compiler, no root ---------------------------------------------------------------
FROM base
LABEL org.opencontainers.image.title="emoface" \
      org.opencontainers.image.description="Faces with the emotion you ask for, drawn by a small GAN and served over HTTP"

RUN groupadd --gid 10001 emoface \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin emoface

COPY --from=dependencies /venv /venv
COPY --from=app /app /app

# HOME is /tmp, the one place that has to be writable: docker-compose.yml mounts all else read-only.
# NVIDIA_DRIVER_CAPABILITIES says what a GPU container gets of the driver; without a GPU nobody reads it.
ENV PATH=/app/bin:/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM

# Ready means that the weights are loaded and faces can be had. No proxy may stand between a host and itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4)"]

CMD ["emoface", "serve", "--host", "0.0.0.0", "--port", "8000"]
