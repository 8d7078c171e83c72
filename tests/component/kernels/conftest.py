"""A real Redis-protocol server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from homeostat.settings import settings
from homeostat.store.embedded import EmbeddedServer


@pytest.fixture
def redis_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(settings()) as server:
        yield server
