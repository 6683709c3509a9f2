# The service and its searches in one image; compose.yaml adds PostgreSQL, docs/guide/service.md says how to use both.
# Debian's own Python, so that `python -m benchmarks.container` can take the same steps where no daemon runs.
FROM debian:bookworm-slim AS build
RUN apt-get -qq update \
    && apt-get -qq install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/hybrid-nas/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# Libraries first: a change of the code alone finds their layer in the cache.
COPY pyproject.toml requirements.lock README.md LICENSE launch.py ./
RUN python3 -m venv /opt/hybrid-nas \
    && pip install -qq -c requirements.lock pip setuptools \
    && pip install -qq --no-build-isolation -c requirements.lock ".[onnx,postgres,service]"
COPY db db
COPY nas nas
COPY search_spaces search_spaces
COPY workers workers
COPY hybrid_nas hybrid_nas
RUN pip install -qq --no-build-isolation --no-deps --force-reinstall .

FROM debian:bookworm-slim
# tini as process 1 reaps what searches leave behind: they outlive the process that started them.
RUN apt-get -qq update \
    && apt-get -qq install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 nas \
    && install --directory --owner=nas --group=nas /data /datasets
COPY --from=build /opt/hybrid-nas /opt/hybrid-nas
ENV PATH=/opt/hybrid-nas/bin:$PATH
USER nas
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import json, urllib.request as web; assert json.load(web.urlopen('http://127.0.0.1:8000/api/v1/health'))['status'] == 'ok'"]
ENTRYPOINT ["tini", "--", "hybrid-nas"]
# Another host than this container's needs a token first; the log shows it once.
CMD ["serve", "--host", "0.0.0.0", "--first-token", "admin", "--data-folder", "/datasets"]
