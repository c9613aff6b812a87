# The image of errklein: `docker build --tag errklein .`; see docs/guides/container.md.

# Pin a digest for builds that can be repeated: --build-arg BASE=python:3.13-slim-trixie@sha256:…
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS base
# git: repositories of plugins, and the version at the build. tini: signals while Python starts, and the ends of orphaned
# processes that plugins have started. The slim image has no bytecode of the standard library.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m compileall -q -x site-packages "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"


FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
# A mirror of PyPI, if there is one.
ARG PIP_INDEX_URL
RUN python3 -m venv /opt/build && python3 -m venv /opt/errklein
# The requirements change less often than errklein, so this layer is used again.
COPY image /src/image
RUN /opt/build/bin/pip install --require-hashes --no-deps --only-binary :all: -r /src/image/build.txt \
    && /opt/errklein/bin/pip install --require-hashes --no-deps --only-binary :all: -r /src/image/requirements.txt
COPY . /src
# The version is that of git's tag or commit, unless it is given.
ARG VERSION=
# twistd writes Twisted's plugin cache. The bytecode doesn't depend on the times of files, which some builders change.
RUN SETUPTOOLS_SCM_PRETEND_VERSION=$VERSION \
        /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src \
    && /opt/errklein/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/errklein/bin/pip check \
    && python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/errklein/lib \
    && /opt/errklein/bin/twistd --help > /dev/null


FROM base
LABEL org.opencontainers.image.title="errklein" org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 errklein \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin errklein \
    && install --directory --owner errklein --group errklein --mode 0700 /data \
    && install --directory /plugins /etc/errklein
COPY --from=build /opt/errklein /opt/errklein
# Settings that differ from errklein's defaults. The status is for programs in the container, such as the check below.
ENV PATH=/opt/errklein/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/data \
    PYTHONUNBUFFERED=1 \
    ERRKLEIN_SET__BOT_DATA_DIR=/data \
    ERRKLEIN_SET__WEB=tcp:3141 \
    ERRKLEIN_SET__STATUS=tcp:9141:interface=127.0.0.1
USER 10001:10001
# config.py, if there is one, is in the working directory.
WORKDIR /etc/errklein
VOLUME ["/data"]
EXPOSE 3141
STOPSIGNAL SIGTERM
# Python takes half a second to start, and longer on a busy machine.
HEALTHCHECK --interval=60s --timeout=30s --start-period=30s CMD ["errklein", "healthcheck"]
ENTRYPOINT ["tini", "--", "errklein"]
CMD ["run"]
