"""The Celery application: how nudges travel. The database is the truth; nothing here has to be durable."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.amqp import AMQP

from broker.settings import Settings

# A queue server that hangs must not hang us: every socket call is bounded (ecosystem.md, experiment 4).
TRANSPORT = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 25,
}


class Nudges(AMQP):  # type: ignore[misc]  # Celery has no types
    """Messages are taken, not lent: acknowledging one costs more than most nudges do, and the reconciler repeats what
    a killed worker took with it within some seconds."""

    def TaskConsumer(self, channel: Any, **options: Any) -> Any:
        return super().TaskConsumer(channel, no_ack=True, **options)


def queue_name(platform: str) -> str:
    """One queue per platform: a dead one starves nobody; a local one (`name@host`) is consumed by its host only."""
    return f"platform:{platform}"


def make_app(settings: Settings) -> Celery:
    app = Celery("broker", broker=settings.redis, include=["broker.queue.tasks"], amqp=Nudges)
    app.conf.update(
        broker_transport_options=TRANSPORT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
    )
    return app


def publish(app: Celery, platform: str, verb: str, job_id: str | None = None) -> None:
    """Send one nudge. Raises kombu's OperationalError within some seconds when the queue server is away."""
    app.send_task(f"broker.{verb}", args=[platform, job_id], queue=queue_name(platform), retry=False)
