# One image for every service, the migration, the node agent and the container `clone` of build pods.
# It runs as any user id on a read-only root file system; only /tmp is expected to be writable, and only for the log sink's and git's scratch files.
# `make images` builds it. What the builder's network needs (certificates, a package index, npm's settings) comes as build secrets, which no layer keeps.

# ---------------------------------------------------------------- what runs the programs
FROM debian:bookworm-slim AS base
# No versions of packages here or below: a release of Debian keeps only its newest.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git git-lfs python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin towpath

# ---------------------------------------------------------------- the locked packages and the programs, in one folder
FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/towpath
COPY requirements/runtime.txt requirements/image.txt /tmp/
# The files that the page at /docs is shown with come from npm.
COPY services/gateway/web/package.json services/gateway/web/package-lock.json services/gateway/web/.npmrc services/gateway/web/
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip_conf --mount=type=secret,id=npmrc \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca NODE_EXTRA_CA_CERTS=/run/secrets/ca; fi \
 && if [ -s /run/secrets/pip_conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip_conf; fi \
 && if [ -s /run/secrets/npmrc ]; then export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc; fi \
 && export PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: PIP_REQUIRE_HASHES=1 \
 && python3 -m venv venv \
 && venv/bin/python -m pip install --requirement /tmp/runtime.txt \
 && venv/bin/python -m pip uninstall --yes --quiet pip setuptools \
 && echo /opt/towpath >venv/lib/python3.11/site-packages/towpath.pth \
 && python3 -m venv /tmp/npm \
 && /tmp/npm/bin/python -m pip install --requirement /tmp/image.txt \
 && /tmp/npm/bin/npm --prefix services/gateway/web ci --ignore-scripts --no-audit --no-fund --cache /tmp/npm/cache \
 && rm -rf /tmp/npm
COPY shared shared
COPY services services
COPY cli cli
# Compiled here: at run time nothing can be written. The hash, not the file's time, says whether a compiled file is up to date.
# A checkout made under a strict umask is opened to every user id.
RUN venv/bin/python -m compileall -q --invalidation-mode unchecked-hash shared services cli \
 && chmod -R a+rX shared services cli

# ---------------------------------------------------------------- what runs
FROM base
COPY --from=build /opt/towpath /opt/towpath
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Towpath" \
      org.opencontainers.image.description="CI/CD that loses nothing, doubles nothing and explains every verdict" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
ENV PATH=/opt/towpath/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOWPATH_HTTP_HOST=0.0.0.0 \
    TOWPATH_HTTP_PORT=8080
WORKDIR /opt/towpath
USER 10001:10001
EXPOSE 8080
CMD ["python", "-m", "services.gateway"]
