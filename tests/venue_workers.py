"""Real processes that press on a venue, forked as a worker's pool children are."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence

import ccxt

from homeostat.trading.venue.outcomes import VenueError

#: What a process does over and over.
Work = Callable[[], object]


def press(work: Work, seconds: float) -> Counter[str]:
    """Do the work without a pause; returns how often each thing came of it."""
    came: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            work()
            came["answered"] += 1
        except (VenueError, ccxt.BaseError) as error:
            came[type(error).__name__] += 1
            # What is refused at once would otherwise be counted by the ten thousand.
            time.sleep(0.01)
    return came


def pressing(makers: Sequence[Callable[[], Work]], seconds: float) -> list[Counter[str]]:
    """Let one real process per maker make its work and press; returns what came of each."""
    pipes = []
    for make in makers:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                came = press(make(), seconds)
                os.write(write, json.dumps(came).encode())
                status = 0
            except BaseException:  # noqa: BLE001  # told on the child's own stderr
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)
        pipes.append((child, read))
    found = []
    for child, read in pipes:
        _, status = os.waitpid(child, 0)
        assert status == 0, "a process that pressed on the venue has failed"
        with os.fdopen(read) as pipe:
            found.append(Counter(json.load(pipe)))
    return found
