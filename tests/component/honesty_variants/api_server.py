"""Broken API servers, and the API process that they ask."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from homeostat.settings import settings
from homeostat.supervision import api_access
from tests.component.kernels.broken_agency import BoastfulApi, IdleApi, StaleApi
from tests.waiting import wait_until

VARIANTS = {
    "does nothing": IdleApi,
    "returns success": BoastfulApi,
    "stale data stamped now": StaleApi,
}


@contextmanager
def world() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "homeostat.api"])
    try:
        wait_until(lambda: api_access.address(settings()), "the API says where it listens", 60)
        yield
    finally:
        process.kill()
        process.wait()
