"""The Celery application: how nudges travel. The database is the truth; nothing here has to be durable."""

from __future__ import annotations

from celery import Celery

from broker.settings import Settings

TASK_SECONDS = 15 * 60  # ordinary tasks take milliseconds, one large output file may take minutes
# A queue server that hangs must not hang us: every socket call is bounded (ecosystem.md, experiment 4).
TRANSPORT = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "visibility_timeout": TASK_SECONDS + 60,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "health_check_interval": 25,
}


def queue_name(platform: str) -> str:
    """One queue per platform: a dead one starves nobody; a local one (`name@host`) is consumed by its host only."""
    return f"platform:{platform}"


def make_app(settings: Settings) -> Celery:
    app = Celery("broker", broker=settings.redis, include=["broker.queue.tasks"])
    app.conf.update(
        broker_transport_options=TRANSPORT,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
    )
    return app


def publish(app: Celery, platform: str, verb: str, job_id: str | None = None) -> None:
    """Send one nudge. Raises kombu's OperationalError within some seconds when the queue server is away."""
    app.send_task(f"broker.{verb}", args=[platform, job_id], queue=queue_name(platform), retry=False)
