# holdfast serve in a container. Not tested: no container could be built where this was written.
#
#   docker build -t holdfast .
#   docker run -p 8443:8443 -v holdfast:/state -v ./tls:/tls:ro -v ./token:/run/secrets/token:ro holdfast \
#       --tls-cert /tls/cert.pem --tls-key /tls/key.pem --token-file /run/secrets/token
#
# Behind something that ends TLS: --behind-tls-proxy instead of the two files.
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/holdfast && /opt/holdfast/bin/pip install --no-cache-dir -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/holdfast/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --create-home --home-dir /home/holdfast holdfast \
    && install -d -o holdfast -g holdfast -m 0700 /state
COPY --from=build /opt/holdfast /opt/holdfast
ENV PATH=/opt/holdfast/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOLDFAST_STATE_DIR=/state \
    HOLDFAST_LISTEN=0.0.0.0:8443 \
    HOLDFAST_ADMIN=127.0.0.1:8485 \
    HOLDFAST_LOG=json
USER holdfast
VOLUME /state
EXPOSE 8443
# Unfinished answers may go on for the drain time: give `docker stop` as much (--time 600).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s CMD ["python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8485/healthz', timeout=2)"]
ENTRYPOINT ["holdfast", "serve"]
