"""Failures that the store could not take: kept in the state folder until it can.

`keep` appends one redacted line to `failures.spool`; `take_in` reports what stands there and
drops it. Each line has an id of its own that is claimed as its sighting, so a process that dies
half way through takes nothing in twice. The file is bounded; what does not fit stands in the log.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from homeostat.clock import new_id
from homeostat.errors import HomeostatError
from homeostat.incidents import bundle
from homeostat.incidents.failure import Failure, Severity, Source
from homeostat.incidents.raised import Raised
from homeostat.incidents.recognition import Case, report_case
from homeostat.incidents.signature import Basis, Signature, signature_of
from homeostat.settings import settings

log = logging.getLogger(__name__)

FILE = "failures.spool"
#: Bytes; some twenty thousand failures of a few signatures.
LARGEST = 32 * 1024 * 1024
#: From here on no bundle is kept, so that the counts have room.
LARGEST_WITH_BUNDLES = 8 * 1024 * 1024
#: Lines reported in one transaction.
BATCH = 100
VERSION = 1

Transaction = Callable[[], AbstractContextManager[Session]]


class SpoolFullError(HomeostatError):
    """The spool of failures is full; bring the database back."""


class _Bundled:
    """The signatures whose bundle this process has put into the present file."""

    keys: set[tuple[int, str]] = set()  # noqa: RUF012  # one per process, by intention


def path() -> Path:
    """Return where the spool of this state folder is."""
    return settings().state_dir / FILE


def keep(
    failure: Failure,
    *,
    severity: Severity | str = Severity.CRITICAL,
    fail_after: int = 1,
    sighting: str | None = None,
) -> bool:
    """Keep a failure for later; False where that failed, too. Never raises."""
    try:
        case = Case(failure, signature_of(failure), Severity(severity), fail_after)
        with _locked(path().with_suffix(".lock")), path().open("ab") as file:
            _append(file, case, sighting)
    except Exception:
        log.exception("A failure of %s could not be kept for later", failure.component)
        return False
    return True


def _append(file: BinaryIO, case: Case, sighting: str | None) -> None:
    os.fchmod(file.fileno(), 0o600)
    size = file.seek(0, os.SEEK_END)
    # The bundle once per signature and file: the others are counted on the same incident.
    first = (os.fstat(file.fileno()).st_ino, case.signature.group_key)
    with_bundle = size < LARGEST_WITH_BUNDLES and first not in _Bundled.keys
    line = _line(case, sighting, with_bundle=with_bundle)
    if size + len(line) > LARGEST:
        raise SpoolFullError
    file.write(line)
    _Bundled.keys.add(first)


def _line(case: Case, sighting: str | None, *, with_bundle: bool) -> bytes:
    failure = case.failure
    cleaner = bundle.cleaner_of(failure)
    document = {
        "version": VERSION,
        "id": sighting or f"spool:{new_id()}",
        "severity": case.severity,
        "fail_after": case.fail_after,
        "source": failure.source,
        "component": failure.component,
        "task": failure.task,
        "type": failure.type,
        "message": cleaner.text(failure.message[: bundle.LONGEST_MESSAGE]),
        "target_hash": failure.target_hash,
        "occurred_at": failure.occurred_at.isoformat(),
        # The keys are of the message as it was; the words are kept without its secrets.
        "signature": {
            **asdict(case.signature),
            "reason": cleaner.text(case.signature.reason),
            "basis": cleaner.value(asdict(case.signature.basis)),
        },
        "bundle": bundle.capture(failure) if with_bundle else None,
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def take_in(transaction: Transaction) -> int:
    """Report what was kept, oldest first, each failure once; return how many lines there were.

    `transaction` opens the unit of work in which a batch is reported. Raises what it raises where
    the store is still away; nothing is lost by that. Nothing where another process is at it.
    """
    if not _waiting() and not path().exists():
        return 0
    taken = 0
    try:
        with _locked(path().with_suffix(".taking"), wait=False):
            with _locked(path().with_suffix(".lock")):
                if path().exists():
                    path().rename(path().with_name(f"{FILE}.{new_id()}.taken"))
            for file in _waiting():
                cases = sorted(_read(file), key=lambda kept: kept[1].failure.occurred_at)
                for first in range(0, len(cases), BATCH):
                    _report(transaction, cases[first : first + BATCH])
                file.unlink()
                taken += len(cases)
    except BlockingIOError:
        return 0
    return taken


def _waiting() -> list[Path]:
    """Return the files that were set aside to be taken in, oldest first."""
    return sorted(path().parent.glob(f"{FILE}.*.taken"))


def _report(transaction: Transaction, cases: Sequence[tuple[str, Case]]) -> None:
    try:
        with transaction() as session:
            for sighting, case in cases:
                report_case(session, case, sighting=sighting)
    except (HomeostatError, OperationalError):
        raise
    except Exception:
        if len(cases) == 1:
            # One that the store refuses for good must not hold up all the others.
            log.exception("A kept failure of %s is refused", cases[0][1].failure.component)
            return
        for one in cases:
            _report(transaction, [one])


def _read(file: Path) -> Iterator[tuple[str, Case]]:
    """Yield sighting and case of each whole line; one that a killed process left half is none."""
    with file.open("rb") as lines:
        for line in lines:
            try:
                document = json.loads(line)
                yield document["id"], _case(document)
            except (ValueError, KeyError, TypeError):
                log.warning("A line of %s cannot be read and is passed over", file.name)


def _case(document: dict[str, Any]) -> Case:
    kept = document["signature"]
    basis = {**kept["basis"], "frames": tuple(kept["basis"]["frames"])}
    failure = Failure(
        source=Source(document["source"]),
        component=document["component"],
        task=document["task"],
        chain=(Raised(document["type"], document["message"]),),
        target_hash=document["target_hash"],
        occurred_at=datetime.fromisoformat(document["occurred_at"]),
    )
    return Case(
        failure=failure,
        signature=Signature(**{**kept, "basis": Basis(**basis), "former": tuple(kept["former"])}),
        severity=Severity(document["severity"]),
        fail_after=int(document["fail_after"]),
        content=document["bundle"],
    )


@contextmanager
def _locked(file: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a file of the state folder.

    Raises BlockingIOError where another process holds it and this one does not `wait`.
    """
    settings().ensure_state_dir()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
