"""What each process of `broker up` does once it is forked."""

from __future__ import annotations

import importlib
import logging
import socket
import warnings

from broker.bootstrap import open_broker
from broker.execution.stop import stop
from broker.settings import Settings

SHARED = (  # imported before the fork, so that its pages are shared
    "broker.api.app",
    "broker.api.connection",
    "broker.queue.tasks",
    "broker.queue.reconciler",
    "adapters.local.platform",
    "celery.app.amqp",
    "celery.app.builtins",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.concurrency.thread",
    "celery.events.state",
    "celery.worker.components",
    "celery.worker.consumer",
    "kombu.transport.redis",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
    "uvloop",
)
START_SECONDS = 10.0  # for platforms to say what they offer before the broker serves; who takes longer is known later


def preload() -> None:
    for name in SHARED:
        importlib.import_module(name)


def prepare(settings: Settings) -> None:
    """Before anything serves: the schema is the newest, the built-in processes and platforms are known."""
    from broker.queue.reconciler import Reconciler
    from broker.store.schema import migrate

    broker = open_broker(settings)
    migrate(broker.database)
    Reconciler(broker).check(patience=START_SECONDS)
    broker.install_builtin()


def api(settings: Settings, sock: socket.socket) -> None:
    """Serve HTTP on a socket that is bound already."""
    from broker.api.app import create_app
    from broker.api.connection import Server, serving

    Server(serving(create_app(settings), settings.api)).run(sockets=[sock])


def worker(settings: Settings) -> None:
    """Consume the queues of the platforms configured here."""
    from celery.exceptions import SecurityWarning

    from broker.queue import tasks
    from broker.queue.app import make_app, queue_name
    from broker.queue.following import Following

    _log_to_stderr()
    # it warns of root, where pickled messages would be dangerous; ours are JSON
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app = make_app(settings)
    app.set_default()
    app.finalize()
    assert tasks.dispatch.name in app.tasks  # noqa: S101 - shared tasks register themselves on finalize
    tasks.begin(settings)
    queues = [queue_name(name) for name in tasks.here()[0].fleet]
    app.steps["consumer"].add(Following)
    program = app.Worker(
        pool="threads",  # tasks wait for the database and platforms; a process for each slot costs 45 MB
        concurrency=settings.worker.slots,
        queues=queues,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    program.start()


def reconciler(settings: Settings) -> None:
    from broker.api.callbackdocument import documents
    from broker.queue.reconciler import run

    _log_to_stderr()
    run(open_broker(settings), documents)


def stop_jobs(settings: Settings) -> None:
    """End what runs on local platforms; it starts again with the broker."""
    broker = open_broker(settings)
    for name, entry in broker.fleet.entries().items():
        if entry.adapter == "local":
            stop(broker.database, broker.platforms[name], broker.holder)


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
