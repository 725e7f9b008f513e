"""pygeoapi 0.21 with its PostgreSQL manager, as its documentation sets it up: the peer of the HTTP figures.

Runs from an environment of its own (`.software/bench`), since its pins fit nobody else's.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg.conninfo
import requests
from sqlalchemy import create_engine, make_url, text

from tests.peers.broker import wait_for
from tests.peers.ports import free_port
from tests.peers.postgres import PostgresPeer

CONFIG = """
server:
  bind: {{host: 127.0.0.1, port: {port}}}
  url: http://127.0.0.1:{port}
  mimetype: application/json; charset=UTF-8
  encoding: utf-8
  languages: [en-US]
  pretty_print: false
  limits: {{default_items: 20, max_items: 50}}
  map: {{url: 'http://127.0.0.1/tile.png', attribution: none}}
  manager:
    name: PostgreSQL
    connection: {{host: '{host}', port: 5432, database: {database}, user: {user}, password: ''}}
    output_dir: {folder}
logging: {{level: ERROR}}
metadata:
  identification:
    title: bench
    description: bench
    keywords: [bench]
    keywords_type: theme
    terms_of_service: none
    url: http://127.0.0.1
  license: {{name: none, url: 'http://127.0.0.1'}}
  provider: {{name: none, url: 'http://127.0.0.1'}}
  contact: {{name: none, email: you@example.org}}
resources:
  hello-world:
    type: process
    processor: {{name: HelloWorld}}
  gate:
    type: process
    processor: {{name: pygeoapi_processes.Gate}}
"""
PROCESSES = Path(__file__).parents[1] / "peers" / "remote"  # those of our own
JOBS = """create table jobs (identifier varchar primary key, type varchar, process_id varchar, created timestamp,
started timestamp, finished timestamp, updated timestamp, status varchar, location varchar, mimetype varchar,
message varchar, progress integer)"""


@contextmanager
def pygeoapi_peer(
    environment: Path, postgres: PostgresPeer, folder: Path, workers: int, *, logs: bool = False
) -> Iterator[int]:
    """Serve on a free port; gives the port. `workers` gunicorn processes (gevent). `logs`: the seconds of all requests
    in `access.log`."""
    port, url = free_port(), postgres.new_database(migrated=False)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(JOBS))
    engine.dispose()
    config, openapi = folder / "pygeoapi.yml", folder / "openapi.yml"
    where = psycopg.conninfo.conninfo_to_dict(url)  # a socket's directory as host, which its URLs cannot say
    names = {"host": where["host"], "database": where["dbname"], "user": where["user"]}
    config.write_text(CONFIG.format(port=port, folder=folder, **names))
    variables = os.environ | {"PYGEOAPI_CONFIG": str(config), "PYGEOAPI_OPENAPI": str(openapi)}
    variables |= {"PYTHONPATH": str(PROCESSES), "PEER_FOLDER": str(folder)}
    programs = environment / "bin"
    generate = [str(programs / "pygeoapi"), "openapi", "generate", str(config), "--output-file", str(openapi)]
    subprocess.run(generate, check=True, env=variables, capture_output=True)
    command = [str(programs / "gunicorn"), "-w", str(workers), "-k", "gevent", "-b", f"127.0.0.1:{port}"]
    command += ["--access-logfile", str(folder / "access.log"), "--access-logformat", "%(t)s"] if logs else []
    server = subprocess.Popen([*command, "pygeoapi.flask_app:APP"], env=variables, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/processes", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    try:
        wait_for(answers, 60, lambda: "pygeoapi did not start")
        yield port
    finally:
        server.terminate()
        server.wait(20)
