"""Flower's user and password: random, made at first use, in one file that only its owner reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE = "flower.auth"
USER = "homeostat"


def credentials(state_dir: Path) -> tuple[str, str]:
    """Return (user, password) from the state folder's file, which is made where it is missing."""
    path = state_dir / FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        user, _, password = path.read_text().strip().partition(":")
        return user, password
    with os.fdopen(descriptor, "w") as file:
        password = secrets.token_urlsafe(24)
        file.write(f"{USER}:{password}\n")
    return USER, password
