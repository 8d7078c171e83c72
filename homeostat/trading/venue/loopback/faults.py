"""What goes wrong at the loopback venue: a script of faults, taken one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from homeostat.errors import HomeostatError


class FaultKind(StrEnum):
    """What happens to a request."""

    #: 429; `seconds` stand in the Retry-After header, and the venue refuses all until then.
    TOO_MANY = "TOO_MANY"
    #: 418; the end of the ban (`seconds` from now) stands in the text alone.
    BANNED = "BANNED"
    #: No answer for `seconds`, and nothing is done.
    HANG = "HANG"
    #: The answer trickles in over `seconds`, byte by byte.
    DRIP = "DRIP"
    #: It is done, and the connection ends without an answer.
    LOST_ANSWER = "LOST_ANSWER"
    #: The connection ends, and it is done `seconds` later, where its time (recvWindow) allows.
    LATE = "LATE"
    #: -1007, execution status unknown; it is done where `done` says so.
    TIMEOUT_1007 = "TIMEOUT_1007"
    #: 503, execution status unknown; it is done where `done` says so.
    BUSY_503 = "BUSY_503"
    #: 200 with half of the body.
    TRUNCATED = "TRUNCATED"
    #: 200 with rows of which only the first field is left.
    SHORT_ROWS = "SHORT_ROWS"
    #: 200 with rows that are `seconds` old.
    STALE = "STALE"
    #: A conditional order is acknowledged and does not rest.
    DROPPED = "DROPPED"
    #: Any refusal: `code` and `message`.
    REFUSED = "REFUSED"


class FaultScriptError(HomeostatError):
    """The script of faults is not understood; each needs a kind and may have its fields."""

    exit_code = 64


@dataclass(frozen=True)
class Fault:
    """One fault; `on` is the beginning of "METHOD path" that it waits for, empty for any."""

    kind: FaultKind
    on: str = ""
    times: int = 1
    seconds: float = 1.0
    done: bool = True
    code: int = -1000
    message: str = "An unknown error occurred while processing the request."
    status: int = 400

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Fault:
        """Return the fault that JSON fields describe; raises FaultScriptError."""
        try:
            return cls(**{**fields, "kind": FaultKind(fields["kind"])})
        except (KeyError, TypeError, ValueError) as error:
            raise FaultScriptError(f"This is not a fault: {fields} ({error!r}).") from error


def read_script(path: Path) -> list[Fault]:
    """Return the faults that a file's JSON list describes; raises FaultScriptError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaultScriptError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(found, list):
        raise FaultScriptError(f"{path} is no JSON list of faults.")
    return [Fault.of(fields) for fields in found]


class Script:
    """The faults that are still to come."""

    def __init__(self) -> None:
        """Begin without any."""
        self._faults: list[Fault] = []
        self._lock = Lock()

    def put(self, faults: Iterable[Fault]) -> None:
        """Add faults behind those that wait."""
        with self._lock:
            self._faults += faults

    def clear(self) -> None:
        """Forget what is still to come."""
        with self._lock:
            self._faults.clear()

    def take(self, request: str) -> Fault | None:
        """Return the first fault that waits for this "METHOD path", and count it off."""
        with self._lock:
            for place, fault in enumerate(self._faults):
                if not request.startswith(fault.on):
                    continue
                if fault.times > 1:
                    self._faults[place] = replace(fault, times=fault.times - 1)
                else:
                    del self._faults[place]
                return fault
        return None

    def waiting(self) -> int:
        """Return how many faults have not come yet."""
        with self._lock:
            return sum(fault.times for fault in self._faults)
