"""Broken secret managers."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.kernels.secret_manager import SecretManager
from homeostat.store.secrets import Secret


class RevokesNothing(SecretManager):
    def revoke(self, session: Session, name: str, *, actor: str) -> None:
        """Return as if it had."""


class StoresInClear(SecretManager):
    def store(self, session: Session, name: str, value: str, *, actor: str) -> int:
        version = super().store(session, name, value, actor=actor)
        session.get_one(Secret, (name, version)).token = value
        session.flush()
        return version

    def _opened(self, row: Secret, cipher: object = None) -> str:
        del cipher
        return row.token


class KeepsGivingTheFirstValue(SecretManager):
    def retrieve(self, session: Session, name: str, *, actor: str) -> str:
        super().retrieve(session, name, actor=actor)
        first = session.scalars(
            select(Secret).where(Secret.name == name).order_by(Secret.version)
        ).first()
        assert first is not None
        return self._opened(first)


VARIANTS = {
    "does nothing": RevokesNothing,
    "returns success": StoresInClear,
    "stale data stamped now": KeepsGivingTheFirstValue,
}
