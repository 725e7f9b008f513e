"""Looking again and again for what is due, in a thread that must not end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from broker.errors import BrokerError

log = logging.getLogger(__name__)


def look_again(what: str, step: Callable[[], int], pause: Callable[[], object], stopped: threading.Event) -> None:
    """Call `step`, which says how much it began, until `stopped`; `pause` after one that began nothing."""
    while not stopped.is_set():
        try:
            begun = step()
        except BrokerError as error:
            log.warning("%s wait: %s", what, error)
            begun = 0
        except Exception:  # the boundary of a thread that must not end
            log.exception("%s wait", what)
            begun = 0
        if not begun:
            pause()
