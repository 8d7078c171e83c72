"""Signatures on messages that ask for an effect.

Celery's own signing covers the body only, so a swapped header could make a worker run another
task. Here the HMAC covers the task's name, its id, the arguments, the expiry and a nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from homeostat.clock import from_iso, utcnow
from homeostat.errors import UnsignedTaskError

HEADER = "homeostat_signature"
#: A message older than this is refused; the job's row is sent again with a new signature.
VALID_FOR = timedelta(hours=24)


def sign(key: bytes, task: str, task_id: str, kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Return the header's value: expiry, nonce and the HMAC-SHA256 over all of it."""
    expires = (utcnow() + VALID_FOR).isoformat()
    nonce = secrets.token_hex(8)
    mac = _mac(key, task, task_id, kwargs, expires, nonce)
    return {"expires": expires, "nonce": nonce, "mac": mac}


def verify(key: bytes, task: str, task_id: str, kwargs: Mapping[str, Any], header: object) -> None:
    """Raise UnsignedTaskError unless the header's signature fits and has not run out."""
    if not isinstance(header, dict) or not {"expires", "nonce", "mac"} <= header.keys():
        raise UnsignedTaskError(
            f"The task {task} causes an effect and came unsigned; ask for it through "
            "`homeostat` or homeostat.store.jobs.enqueue, which sign."
        )
    mac = _mac(key, task, task_id, kwargs, str(header["expires"]), str(header["nonce"]))
    if not hmac.compare_digest(mac, str(header["mac"])):
        raise UnsignedTaskError(f"The signature on the task {task} does not fit its message.")
    if from_iso(str(header["expires"])) < utcnow():
        raise UnsignedTaskError(f"The signature on the task {task} ran out; send it again.")


def _mac(
    key: bytes, task: str, task_id: str, kwargs: Mapping[str, Any], expires: str, nonce: str
) -> str:
    text = json.dumps([task, task_id, kwargs, expires, nonce], sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
