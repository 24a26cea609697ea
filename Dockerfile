# handpose in a container, for the CPU or CUDA; docs/guides/docker.md says how to build and run it.
#
# BASE         image of Debian 12 or Ubuntu 22.04 and later, with Python 3.10 or newer among its packages
# TORCH_INDEX  where pip finds torch: the CPU build; .../whl/cu126 is CUDA's, and an empty value means the default index
# EXTRAS       extras of the package (docs/guides/docker.md)
ARG BASE=debian:bookworm-slim
FROM ${BASE}

# What OpenCV's wheel and a virtual environment need, in the versions of the base.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates libgl1 libglib2.0-0 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

# The user owns neither the program nor the base; /cache holds downloaded weights, /data is where users mount their files.
RUN useradd --create-home --uid 10001 handpose \
    && mkdir /cache /data \
    && chown handpose:handpose /cache /data \
    && chmod 1777 /cache /data

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /build/
RUN python3 -m venv /opt/handpose \
    && /opt/handpose/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} \
        --constraint /build/constraints.txt torch

ARG EXTRAS=all
COPY CITATION.cff LICENSE MANIFEST.in README.md pyproject.toml setup.py /build/
COPY configs /build/configs
COPY handpose /build/handpose
RUN /opt/handpose/bin/pip install --no-cache-dir --constraint /build/constraints.txt "/build[${EXTRAS}]" \
    && ln -s /opt/handpose/bin/handpose /usr/local/bin/handpose \
    && rm -rf /build

# USER is a name that programs may ask for when the container runs under a number that has none (docker run --user).
ENV HANDPOSE_CACHE=/cache \
    USER=handpose \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /data
VOLUME /cache
ENTRYPOINT ["handpose"]
CMD ["--help"]
