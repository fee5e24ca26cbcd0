# VARIANT=cpu or gpu picks the lock. Behind a proxy with its own certificate authority, mount its file
# and name it in PIP_CERT and SSL_CERT_FILE.
FROM docker.io/library/python:3.11-slim-bookworm AS build
ARG VARIANT=cpu
ARG PIP_CERT
ARG SSL_CERT_FILE
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_ONLY_BINARY=:all:
WORKDIR /src
# hadolint ignore=DL3008  # whichever version this Debian has: nothing of it is in the image
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
RUN python -m venv --without-pip /opt/forecaster \
 && python -m venv /opt/sbom
COPY requirements/ requirements/
# The C++ headers, libclang and the symbols that debuggers read, 550 MB, serve only those who build TensorFlow.
RUN python -m pip --python /opt/forecaster install --require-hashes -r "requirements/${VARIANT}.txt" \
 && python -m pip install --require-hashes -r requirements/build.txt \
 && /opt/sbom/bin/python -m pip install --require-hashes -r requirements/sbom.txt \
 && rm -rf /opt/forecaster/lib/python3.*/site-packages/tensorflow/include /opt/forecaster/lib/python3.*/site-packages/clang \
 && strip --strip-unneeded /opt/forecaster/lib/python3.*/site-packages/tensorflow/libtensorflow_*.so.2
COPY pyproject.toml README.md LICENSE ./
COPY forecaster/ forecaster/
COPY training/ training/
RUN python -m pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
 && python -m pip --python /opt/forecaster install --no-deps --no-index dist/*.whl \
 && /opt/sbom/bin/cyclonedx-py environment --output-reproducible \
      --output-file /opt/forecaster/sbom.cdx.json /opt/forecaster/bin/python

FROM docker.io/library/python:3.11-slim-bookworm
COPY --from=build /opt/forecaster /opt/forecaster
# All bytecode is compiled, and whatever still wants a home gets /tmp: the root may be read-only.
ENV PATH=/opt/forecaster/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 9108
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s \
  CMD ["forecaster", "healthcheck", "--config", "/etc/forecaster/forecaster.toml"]
ENTRYPOINT ["forecaster"]
CMD ["run", "--config", "/etc/forecaster/forecaster.toml"]
# Last, so that a new revision rebuilds nothing.
ARG VARIANT=cpu
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="forecaster" \
      org.opencontainers.image.description="Streaming time-series forecasting daemon: ticks from Kafka in, forecasts out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}-${VARIANT}" \
      org.opencontainers.image.revision="${REVISION}"
