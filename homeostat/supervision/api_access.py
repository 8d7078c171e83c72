"""How the API is reached: the token that opens it, and the address where it listens."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from pathlib import Path

from homeostat.settings import Settings

TOKEN_FILE = "api.token"  # noqa: S105  # the file's name, not the token
ADDRESS_FILE = "api.json"


def token(settings: Settings) -> str:
    """Return the token from the state folder's 0600 file, made at first use."""
    path = settings.ensure_state_dir() / TOKEN_FILE
    if not path.exists():
        # Written aside and linked into place, so that nobody ever reads half a token.
        with tempfile.NamedTemporaryFile(dir=settings.state_dir) as file:
            file.write(secrets.token_urlsafe(32).encode())
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text(encoding="ascii").strip()


def publish_address(settings: Settings, url: str) -> Path:
    """Write where the API listens, and which process it is."""
    path = settings.ensure_state_dir() / ADDRESS_FILE
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="ascii")
    return aside.replace(path)


def withdraw_address(settings: Settings) -> None:
    """Remove the address, unless another process has published its own since."""
    path = settings.state_dir / ADDRESS_FILE
    with contextlib.suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="ascii"))["pid"] == os.getpid():
            path.unlink()


def address(settings: Settings) -> str | None:
    """Return where the API says that it listens, or None where none has said so."""
    return _told(settings, "url")


def process(settings: Settings) -> str | None:
    """Return which process, by its pid, says that it is the API, or None where none does."""
    return _told(settings, "pid")


def _told(settings: Settings, what: str) -> str | None:
    try:
        found = json.loads((settings.state_dir / ADDRESS_FILE).read_text(encoding="ascii"))
        return str(found[what])
    except (OSError, ValueError, KeyError):
        return None
