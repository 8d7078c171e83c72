# One image for every process of the stack; docker-compose.yml says which one a container runs.
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap espeak-ng git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home homeostat \
    && mkdir /state && chown homeostat /state

WORKDIR /srv/homeostat
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

USER homeostat
ENV HOMEOSTAT_STATE_DIR=/state PYTHONUNBUFFERED=1
VOLUME /state
ENTRYPOINT ["/usr/bin/env"]
CMD ["homeostat", "--help"]
