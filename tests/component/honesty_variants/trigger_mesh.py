"""Broken trigger meshes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.kernels.trigger_mesh import Rule, TriggerMesh
from homeostat.store.firings import Firing


class HandlesNothing(TriggerMesh):
    def handle(
        self, session: Session, rules: Sequence[Rule], topic: str, event: str, payload: Any
    ) -> list[Firing]:
        del session, rules, topic, event, payload
        return []


class FiresWithoutATask(TriggerMesh):
    def _act(self, *_what: Any) -> str:
        return new_id()


class RepeatsItsFirstFiring(TriggerMesh):
    first: list[Firing] | None = None

    def handle(
        self, session: Session, rules: Sequence[Rule], topic: str, event: str, payload: Any
    ) -> list[Firing]:
        if self.first is None:
            self.first = super().handle(session, rules, topic, event, payload)
        for one in self.first:
            one.at = utcnow()
        return self.first


VARIANTS = {
    "does nothing": HandlesNothing,
    "returns success": FiresWithoutATask,
    "stale data stamped now": RepeatsItsFirstFiring,
}
