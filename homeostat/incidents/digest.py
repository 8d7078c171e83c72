"""Error storms as digests: one log line an interval and signature, with the count.

The first failure of a signature is logged as ever, traceback and all. What follows within the
interval is counted, and one line at its end says how many there were. 289 alike failures in five
minutes are six lines, and a rare failure between them is not lost among them, because each
signature has its own interval.
"""

from __future__ import annotations

import logging
import threading

from homeostat.incidents.failure import Failure, Source
from homeostat.incidents.signature import signature_of

INTERVAL_S = 60.0
#: Signatures counted at once; beyond them lines pass unhindered rather than memory growing.
MOST_SIGNATURES = 1_000

_log = logging.getLogger("homeostat.digest")


def _work_in(record: logging.LogRecord) -> str:
    """Return the task that Celery's line is about, so that the digest is called as its incident."""
    data = getattr(record, "data", None)
    name = data.get("name") if type(data) is dict else None
    return name if type(name) is str else record.name


class Digest(logging.Filter):
    """A logging filter for the logger that reports failures; it holds back repetitions."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the first failure of a signature through, and count the others."""
        exc = record.exc_info[1] if record.exc_info else None
        if exc is None:
            return True
        try:
            failure = Failure.from_exception(exc, source=Source.TASK, component=_work_in(record))
            signature = signature_of(failure)
        except Exception:  # noqa: BLE001  # a line too many is better than a failure unseen
            return True
        with self._lock:
            if signature.group_key in self._held:
                label, count = self._held[signature.group_key]
                self._held[signature.group_key] = (label, count + 1)
                return False
            if len(self._held) >= MOST_SIGNATURES:
                return True
            self._held[signature.group_key] = (signature.label, 0)
        self._wait(signature.group_key)
        return True

    def _wait(self, key: str) -> None:
        timer = threading.Timer(self._interval_s, self._end_interval, (key,))
        timer.daemon = True
        timer.start()

    def _end_interval(self, key: str) -> None:
        with self._lock:
            label, count = self._held.get(key, ("", 0))
            if count == 0:
                self._held.pop(key, None)
                return
            self._held[key] = (label, 0)
        _log.error("%s: %d more in the last %g s", label, count, self._interval_s)
        self._wait(key)

    def flush(self) -> None:
        """Log the counts of all running intervals now, as at a shutdown."""
        with self._lock:
            held, self._held = self._held, {}
        for label, count in held.values():
            if count:
                _log.error("%s: %d more in less than %g s", label, count, self._interval_s)
