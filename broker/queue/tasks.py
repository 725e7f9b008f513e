"""The tasks: each names a verb of `broker.execution` and nudges what comes next. None waits for a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from celery import Celery, shared_task
from kombu.exceptions import OperationalError

from broker.bootstrap import Broker, open_broker
from broker.errors import NoSuchPlatform, SetupError
from broker.execution import collect as collecting
from broker.execution import dismiss as dismissing
from broker.execution import dispatch as dispatching
from broker.execution import observe as observing
from broker.execution.courtesy import NotNow, turn
from broker.jobs.model import Job, Phase
from broker.jobs.pace import OFTEN_SECONDS, between_looks
from broker.jobs.schedule import Load
from broker.jobs.terms import Terms
from broker.platform import Eventful, Listing, Near, Platform
from broker.queue.app import make_app, publish
from broker.queue.lanes import Lanes
from broker.queue.listener import Listener
from broker.queue.wakeups import Wake
from broker.settings import Settings
from broker.store import claims, platforms, waiting

log = logging.getLogger(__name__)
IDLE = Load()
BUSY_SECONDS = 20.0  # after this a task gives way to others; what is left is nudged again
PIECE_SECONDS = 1.0  # the same of what is done for a platform elsewhere: its verbs take turns
LATE_SECONDS = 0.15  # a look that is so late goes before the rest: what ended is to be known in time
GIVE_SECONDS = 5.0  # but each of the rest goes first so often: looks may be late for ever, at a server that is slow
LIVE_JOBS = 20  # at most so many at a platform elsewhere: of more, logs and steps are read when they have ended
LIVE_REQUESTS = 4  # of a look at a job of which logs and steps are read, too
RELEASED = 4  # jobs at a time of which an elsewhere is rid


_here: list[tuple[Broker, Celery, Wake]] = []
_heard: set[str] = set()
_gone_first: dict[tuple[str, str], float] = {}  # (platform, verb) -> until when it gives way to looks


def begin(settings: Settings) -> None:
    """Open this worker's connections, once, after the fork: its threads share them while it lives. From then on
    it hears what its platforms say of themselves."""
    _here[:] = [(open_broker(settings), make_app(settings), Wake(settings.redis))]
    hear()


def hear() -> None:
    """Listen to the platforms that are here and say what changes; to each once."""
    broker, _, _ = here()
    for name in set(broker.fleet) - _heard:
        _heard.add(name)
        try:
            platform = broker.platforms[name]
        except SetupError as error:
            log.warning("the platform %s cannot be used: %s", name, error)
            continue
        if isinstance(platform, Eventful):
            Listener(platform, partial(look, name)).start()


def here() -> tuple[Broker, Celery, Wake]:
    return _here[0]


def changed(*jobs: Job | None) -> None:
    """After a save: wake who waits for these jobs; where one left its platform, its room goes to the next."""
    broker, app, wake = here()
    saved = [job for job in jobs if job is not None]
    wake(*(job.id for job in saved))
    left = {job.platform for job in saved if job.terminal or job.phase is Phase.ACCEPTED}
    if not left:
        return
    with broker.database.read() as tx:
        left = {platform for platform in left if waiting.anything(tx, platform)}
    try:
        for platform in left:
            publish(app, platform, "dispatch")
    except OperationalError as error:
        log.warning("a nudge is left to the reconciler: %s", error)


def look(platform: str, ids: Sequence[str]) -> set[str]:
    """Observe these jobs and go on with what has ended; the ids that were free."""
    broker, _, _ = here()
    return {job.id for job in _look(broker, broker.platforms[platform], ids)}


def _look(broker: Broker, platform: Platform, ids: Sequence[str] = ()) -> list[Job]:
    near = isinstance(platform, Near)
    end = time.monotonic() + (BUSY_SECONDS if near else PIECE_SECONDS)
    live, pause = (True, 0.0) if near else _looks(broker, platform.name)
    seen = observing.observe(broker.database, platform, broker.holder, ids, live=live, pause=pause)
    ended = [job for job in seen if job.phase is Phase.COLLECTING]
    changed(*(job for job in seen if not near or job.phase is not Phase.COLLECTING))
    if ended and not near:  # its results take many requests: other looks go first
        LANES.nudge(platform.name, "collect")
        return seen
    for job in ended:
        if time.monotonic() < end:
            changed(collecting.go_on(broker.database, platform, broker.storage, job))
    return seen


def _looks(broker: Broker, name: str) -> tuple[bool, float]:
    """Of a platform elsewhere: whether it has so few jobs that it can also be asked for their logs and steps all the
    time, and how long each of them has to wait at least for the next look, so that all are looked at in turn and
    something is left for what else is to be done."""
    with broker.database.read() as tx:
        rate = platforms.one(tx, name).terms.requests
        jobs = platforms.loads(tx, [name]).get(name, IDLE).jobs
    live = jobs <= LIVE_JOBS
    if rate is None:
        return live, 0.0
    platform = broker.platforms[name]
    live = live and LIVE_REQUESTS * jobs <= OFTEN_SECONDS * rate
    pages = -(-jobs // platform.page)
    few = min(jobs, LIVE_REQUESTS)
    requests = LIVE_REQUESTS * jobs if live else max(few, pages**2) if isinstance(platform, Listing) else jobs
    return live, between_looks(requests, rate)


# Each does one piece of work, and says whether there may be more of it.


def _dispatch(broker: Broker, platform: Platform) -> bool:
    with broker.database.read() as tx:
        if not waiting.anything(tx, platform.name):
            return False
        offer = platforms.one(tx, platform.name)
    if offer.paused:
        return False
    job = dispatching.dispatch(
        broker.database,
        platform,
        offer.capabilities,
        broker.storage,
        broker.limits,
        broker.holder,
        broker.quotas.now(),
        vault=broker.vault,
        images=broker.images,
    )
    changed(job)
    # else there is no room, or the platform does not answer
    return job is not None and job.phase not in (Phase.SUBMITTING, Phase.ACCEPTED)


def _observe(broker: Broker, platform: Platform) -> bool:
    return len(_look(broker, platform)) >= platform.page


def _collect(broker: Broker, platform: Platform) -> bool:
    job = collecting.collect(broker.database, platform, broker.storage, broker.holder)
    changed(job)
    return job is not None


def _dismiss(broker: Broker, platform: Platform) -> bool:
    changed(*dismissing.carry_out(broker.database, platform, broker.holder))
    return False


def _release(broker: Broker, platform: Platform) -> bool:
    days = broker.settings.retention.scratch_days
    most = 20 if isinstance(platform, Near) else RELEASED
    return bool(dismissing.release(broker.database, platform, broker.holder, most, after=days * 86400.0))


def _children(broker: Broker, platform: Platform) -> bool:
    from broker.execution import across  # noqa: PLC0415 - few jobs have steps elsewhere

    saved = across.step(broker.database, platform.name, broker.holder, broker.read_step)
    changed(*saved)
    return len(saved) >= across.MOST


VERBS: Mapping[str, Callable[[Broker, Platform], bool]] = {
    "dispatch": _dispatch,
    "observe": _observe,
    "collect": _collect,
    "dismiss": _dismiss,
    "release": _release,
    "children": _children,
}


GIVE_WAY = frozenset({"dispatch", "collect", "release"})  # to looks that are late, where requests are few


def work(name: str, verb: str) -> float | None:
    """What is to be done of a verb on a platform, for as long as a task may take; elsewhere only by its leave. In how
    many seconds there is more of it that may be done; None where that is for others to say."""
    broker, _, _ = here()
    platform = broker.platforms[name]
    near = isinstance(platform, Near)
    end = time.monotonic() + (BUSY_SECONDS if near else PIECE_SECONDS)
    while time.monotonic() < end:
        if near:
            more = VERBS[verb](broker, platform)
        else:
            try:
                more = _elsewhere(broker, platform, verb)
            except NotNow as error:
                return error.seconds if error.seconds <= PIECE_SECONDS else None
        if not more:
            return None
    return 0.0


def _elsewhere(broker: Broker, platform: Platform, verb: str) -> bool:
    """Raises NotNow."""
    rate = _terms(broker, platform.name).requests
    if rate is not None and verb in GIVE_WAY and time.monotonic() < _gone_first.get((platform.name, verb), 0.0):
        with broker.database.read() as tx:
            late = claims.late(tx, platform.name)
        if late > LATE_SECONDS:
            LANES.nudge(platform.name, "observe")
            raise NotNow(LATE_SECONDS)
    with turn(broker.database, platform, rate) as allowed:
        _gone_first[platform.name, verb] = time.monotonic() + GIVE_SECONDS
        return VERBS[verb](broker, allowed)


def _terms(broker: Broker, name: str) -> Terms:
    with broker.database.read() as tx:
        return platforms.one(tx, name).terms


LANES = Lanes(work, lambda name: _terms(here()[0], name).calls)


def nudged(name: str, verb: str) -> None:
    """What is near is worked for here; what is elsewhere may take its time, and has threads of its own."""
    broker, _, _ = here()
    try:
        platform = broker.platforms[name]
        if isinstance(platform, Near):
            work(name, verb)
        else:
            LANES.nudge(name, verb)
    except (KeyError, NoSuchPlatform):
        log.warning("there is no platform %s here any more", name)


@shared_task(name="broker.dispatch")
def dispatch(platform: str, job_id: str | None = None) -> None:
    nudged(platform, "dispatch")


@shared_task(name="broker.observe")
def observe(platform: str, job_id: str | None = None) -> None:
    nudged(platform, "observe")


@shared_task(name="broker.collect")
def collect(platform: str, job_id: str | None = None) -> None:
    nudged(platform, "collect")


@shared_task(name="broker.dismiss")
def dismiss(platform: str, job_id: str | None = None) -> None:
    nudged(platform, "dismiss")


@shared_task(name="broker.release")
def release(platform: str, job_id: str | None = None) -> None:
    nudged(platform, "release")


@shared_task(name="broker.children")
def children(platform: str, job_id: str | None = None) -> None:
    nudged(platform, "children")
