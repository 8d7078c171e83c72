"""Secrets encrypted at rest, every access in the audit log, and a scan for what leaked.

The key is in the environment (`HOMEOSTAT_SECRETS_KEY`, one Fernet key or several separated by
commas, newest first) or in the state folder's 0600 file, one per line, newest first. Rotating
the key writes a new one in front, encrypts every secret anew, and drops the old one only after
every row was read back under the new one.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import JsonValue
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.errors import HomeostatError
from homeostat.incidents import redaction
from homeostat.incidents.secret_forms import SHORTEST_SECRET
from homeostat.store import secrets
from homeostat.store.secrets import Secret
from homeostat.supervision.ports import AuditLog

#: A setting whose value is `secret://name` is looked up here.
SCHEME = "secret://"
KEY_FILE = "secrets.keys"
_NAME = "kernels.secret_manager"
#: What is scanned for leaks: the newest part of each written text, in bytes.
_SCAN_BYTES = 2_000_000
_SCANNED = ("*.log", "*.txt", "*.json", "*.md", "*.html", "*.ini", "*.conf")


class SecretError(HomeostatError):
    """The secret cannot be had; `homeostat secret list` shows the names."""


class SecretManager(Component):
    """Stores, hands out, rotates and revokes secrets."""

    spec = ComponentSpec(
        name="secret_manager",
        wing=Wing.KERNELS,
        tier=1,
        summary="Keeps secrets encrypted, logs every access, and finds what leaked.",
        needs=("kernels.immutable_log",),
        timeout_s=60.0,
    )

    def store(self, session: Session, name: str, value: str, *, actor: str) -> int:
        """Store a new version of the secret and return its number."""
        if not value:
            raise SecretError(f"The secret {name} must not be empty.")
        last = secrets.newest(session, name, lock=True)
        version = last.version + 1 if last else 1
        redaction.protect(value)
        token = self._cipher().encrypt(value.encode()).decode()
        session.add(Secret(name=name, version=version, token=token, created_by=actor))
        session.flush()
        self._log(session, actor, "secret.store", name, version)
        return version

    def rotate(self, session: Session, name: str, value: str, *, actor: str) -> int:
        """Store a new value for a secret that exists, and revoke the versions before it."""
        if secrets.newest(session, name) is None:
            raise SecretError(f"No secret is named {name!r}.")
        version = self.store(session, name, value, actor=actor)
        for row in secrets.every(session):
            if row.name == name and row.version < version and row.revoked_at is None:
                row.revoked_at = utcnow()
        session.flush()
        return version

    def retrieve(self, session: Session, name: str, *, actor: str) -> str:
        """Return the newest version's value; raises SecretError where there is none to give."""
        row = secrets.newest(session, name)
        if row is None or row.revoked_at is not None:
            self._log(session, actor, "secret.refused", name, row.version if row else 0)
            raise SecretError(f"No secret is named {name!r}, or it was revoked.")
        value = self._opened(row)
        redaction.protect(value)
        self._log(session, actor, "secret.retrieve", name, row.version)
        return value

    def revoke(self, session: Session, name: str, *, actor: str) -> None:
        """Revoke all versions of a secret; raises SecretError where there is none."""
        rows = [row for row in secrets.every(session, lock=True) if row.name == name]
        if not rows:
            raise SecretError(f"No secret is named {name!r}.")
        for row in rows:
            row.revoked_at = row.revoked_at or utcnow()
        session.flush()
        self._log(session, actor, "secret.revoke", name, rows[-1].version)

    def list(self, session: Session) -> dict[str, dict[str, JsonValue]]:
        """Return name → newest version and whether it is revoked; never a value."""
        return {
            row.name: {"version": row.version, "revoked": row.revoked_at is not None}
            for row in secrets.every(session)
        }

    def resolve(self, session: Session, setting: str, *, actor: str) -> str:
        """Return a setting's value, looked up where it says `secret://name`."""
        if not setting.startswith(SCHEME):
            return setting
        return self.retrieve(session, setting.removeprefix(SCHEME), actor=actor)

    def rotate_key(self, session: Session, *, actor: str) -> int:
        """Encrypt every secret under a new key and return how many rows that were.

        Raises SecretError where the key comes from the environment, or where a row cannot be
        read back; the old key stays in the file (behind the new one) until the next rotation,
        because a transaction that is rolled back leaves rows under it.
        """
        if self._key_in_environment():
            raise SecretError(
                "The key comes from HOMEOSTAT_SECRETS_KEY; put a new one in front of it there, "
                "separated by a comma, and rotate the values."
            )
        with self._key_file_locked():
            keys = self._keys()
            in_use = self._keys_in_use(session, keys)
            new = Fernet.generate_key()
            # On disk before any row is under it: a crash in between loses nothing.
            self._write_keys([new, *in_use])
        rows = secrets.every(session, lock=True)
        cipher, fresh = self._cipher(), Fernet(new)
        for row in rows:
            value = self._opened(row, cipher)
            row.token = fresh.encrypt(value.encode()).decode()
            if fresh.decrypt(row.token.encode()).decode() != value:
                raise SecretError(f"{row.name} could not be read back under the new key.")
        session.flush()
        self._log(session, actor, "secret.rotate_key", "*", len(rows))
        return len(rows)

    def _keys_in_use(self, session: Session, keys: Sequence[bytes]) -> Sequence[bytes]:
        """Return the newest key and every older one that some row still needs."""
        tokens = [row.token.encode() for row in secrets.every(session)]
        used = [key for key in keys[1:] if any(_opens(key, token) for token in tokens)]
        return [*keys[:1], *used]

    def leaks(self, session: Session) -> dict[str, Sequence[str]]:
        """Return secret name → files under the state folder in which its value stands in clear."""
        values = {row.name: self._opened(row) for row in secrets.every(session)}
        found: dict[str, list[str]] = {}
        for path in self._written_texts():
            content = _tail(path)
            for name, value in values.items():
                if len(value) >= SHORTEST_SECRET and value.encode() in content:
                    found.setdefault(name, []).append(str(path))
        return dict(found)

    def _written_texts(self) -> Iterator[Path]:
        for pattern in _SCANNED:
            yield from self.context.settings.state_dir.rglob(pattern)

    def _opened(self, row: Secret, cipher: MultiFernet | None = None) -> str:
        try:
            return (cipher or self._cipher()).decrypt(row.token.encode()).decode()
        except InvalidToken as error:
            raise SecretError(
                f"{row.name} cannot be decrypted; its key is neither in HOMEOSTAT_SECRETS_KEY "
                f"nor in {KEY_FILE}."
            ) from error

    def _log(self, session: Session, actor: str, action: str, name: str, version: int) -> None:
        log: AuditLog = self.need("kernels.immutable_log")
        log.append(session, actor=actor, action=action, resource=name, payload={"version": version})

    @property
    def _key_path(self) -> Path:
        return self.context.settings.state_dir / KEY_FILE

    def _key_in_environment(self) -> str:
        return self.context.settings.secrets_key.get_secret_value()

    def _cipher(self) -> MultiFernet:
        return MultiFernet([Fernet(key) for key in self._keys()])

    def _keys(self) -> Sequence[bytes]:
        given = self._key_in_environment()
        if given:
            return [key.strip().encode() for key in given.split(",")]
        if not self._key_path.exists():
            with self._key_file_locked():
                if not self._key_path.exists():
                    self._write_keys([Fernet.generate_key()])
        mode = stat.S_IMODE(self._key_path.stat().st_mode)
        if mode & 0o077:
            raise SecretError(f"{self._key_path} may be read by others; run chmod 600 on it.")
        return self._key_path.read_bytes().split()

    @contextmanager
    def _key_file_locked(self) -> Iterator[None]:
        self.context.settings.ensure_state_dir()
        lock = self._key_path.with_suffix(".lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write_keys(self, keys: Sequence[bytes]) -> None:
        aside = self._key_path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\n".join(keys) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._key_path)

    def probe(self, session: Session) -> Evidence:
        """Store, read back, find no clear text in the row, rotate, revoke; then undo it all."""
        watch = Stopwatch()
        name, value, second = f"probe-{new_id()}", new_id(), new_id()
        undo = session.begin_nested()
        try:
            self.store(session, name, value, actor=_NAME)
            read_back = self.retrieve(session, name, actor=_NAME) == value
            row = secrets.newest(session, name)
            in_clear = row is None or value in row.token
            self.rotate(session, name, second, actor=_NAME)
            rotated = self.retrieve(session, name, actor=_NAME) == second
            self.revoke(session, name, actor=_NAME)
            revoked = self._refused(session, name)
        finally:
            undo.rollback()
        masked = value not in redaction.redactor().text(f"it was {value}")
        return Evidence(
            claim="a secret is read back, never in clear, and gone once revoked",
            passed=read_back and rotated and revoked and masked and not in_clear,
            observed={
                "secret": name,
                "read_back": read_back,
                "rotated": rotated,
                "refused_after_revoke": revoked,
                "in_clear_in_its_row": in_clear,
                "masked_by_redactor": masked,
            },
            seconds=watch.seconds,
        )

    def _refused(self, session: Session, name: str) -> bool:
        try:
            self.retrieve(session, name, actor=_NAME)
        except SecretError:
            return True
        return False

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Announce every value to the redactor, and scan what was written for leaks.

        Raises SecretError with the place where a value stands in clear.
        """
        del due_at
        rows = secrets.every(session)
        for row in rows:
            redaction.protect(self._opened(row))
        leaks = self.leaks(session)
        if leaks:
            name, places = next(iter(leaks.items()))
            raise SecretError(
                f"The secret {name} stands in clear in {places[0]}; rotate it and delete the file."
            )
        return CycleResult(work=1 + len(rows), observed={"secrets": len(rows), "leaks": 0})


def _opens(key: bytes, token: bytes) -> bool:
    try:
        Fernet(key).decrypt(token)
    except InvalidToken:
        return False
    return True


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _SCAN_BYTES))
            return file.read()
    except OSError:
        return b""
