# The tag moves with Python's and Debian's security fixes. To fix it: --build-arg PYTHON=python:3.11-slim-bookworm@sha256:…
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY requirements/run.txt requirements/build.in requirements/
RUN python3 -m venv /opt/zoetrope && \
    /opt/zoetrope/bin/python -m pip install --no-cache-dir --require-hashes --no-deps -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY cogs cogs
# What only builds the package goes again; pip says so if something else needs it, and then goes too.
RUN /opt/zoetrope/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . && \
    /opt/zoetrope/bin/python -m pip uninstall --yes -r requirements/build.in \
      pathspec pluggy setuptools tomlkit trove-classifiers && \
    /opt/zoetrope/bin/python -m pip check
# JPEG_XL=false leaves out pictures in JPEG XL, whose reader is under the GPL: docs/operating.md, "Licences".
ARG JPEG_XL=true
RUN if [ "$JPEG_XL" = false ]; then /opt/zoetrope/bin/python -m pip uninstall --yes pillow-jxl-plugin; fi && \
    /opt/zoetrope/bin/python -m pip uninstall --yes pip
COPY deploy/healthcheck.py /opt/zoetrope/

FROM ${PYTHON}
# av and pillow-heif bring x264 and x265, so the image is under the GPL without JPEG XL, too.
LABEL org.opencontainers.image.title="Zoetrope" \
      org.opencontainers.image.description="A Discord bot that turns a member's picture and prompt into a short video" \
      org.opencontainers.image.licenses="GPL-3.0-or-later"
# The image comes without compiled modules of Python's own, and a read-only file system can't keep them later.
RUN python3 -m compileall -q "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" && \
    groupadd --gid 10001 zoetrope && \
    useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin zoetrope && \
    install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/zoetrope /opt/zoetrope
ENV PATH=/opt/zoetrope/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    DATABASE_URL=sqlite:////data/zoetrope.db \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9464
WORKDIR /data
USER 10001:10001
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "/opt/zoetrope/healthcheck.py"]
ENTRYPOINT ["zoetrope"]
CMD ["run"]
