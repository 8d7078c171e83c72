"""Acts that set a switch which other components obey."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import JsonValue

from homeostat.clock import from_iso, utcnow
from homeostat.component import Evidence
from homeostat.repair.actions.ground import ActionFailedError, Ground, is_number
from homeostat.store import controls
from homeostat.store.trading import ModelAlias, ModelRecord


class SetControl:
    """Sets a switch that other components obey; it must be readable in another transaction."""

    def __init__(self, name: str, *, with_target: bool = False) -> None:
        """Take the switch's name; `with_target` adds the step's target to it."""
        self._name = name
        self._with_target = with_target

    def snapshot(self, ground: Ground) -> dict[str, JsonValue]:
        """Remember when the act began, and the switch as it was set until now."""
        with ground.transaction() as session:
            control = session.get(controls.Control, self._control(ground))
            known: JsonValue = None
            if control is not None:
                until = control.until.isoformat() if control.until else None
                known = {"actor": control.actor, "reason": control.reason, "until": until}
        return {"at": utcnow().isoformat(), "control": self._control(ground), "was": known}

    def act(self, ground: Ground) -> bool:
        """Set it, with an end where the step gives minutes."""
        minutes = ground.step.parameters.get("minutes")
        until = utcnow() + timedelta(minutes=float(minutes)) if is_number(minutes) else None
        with ground.transaction() as session:
            controls.set_on(
                session,
                self._control(ground),
                actor=ground.actor,
                reason=f"remedy for {ground.component}",
                until=until,
            )
        return True

    def observe(self, ground: Ground, before: Mapping[str, JsonValue]) -> Evidence:
        """Read it back."""
        name = self._control(ground)
        with ground.transaction() as session:
            held = controls.is_on(session, name)
            control = session.get(controls.Control, name)
            since = control.since if control else None
        fresh = since is not None and since >= datetime.fromisoformat(str(before["at"]))
        return Evidence(
            claim=f"the switch {name} holds",
            passed=held and fresh,
            observed={"held": held, "since": since.isoformat() if since else None},
        )

    def undo(self, ground: Ground, before: Mapping[str, JsonValue]) -> None:
        """Set the switch as it was before, or lift it where it was not set."""
        was, name = before.get("was"), self._control(ground)
        with ground.transaction() as session:
            if not isinstance(was, dict):
                controls.lift(session, name)
                return
            until = from_iso(str(was["until"])) if was["until"] else None
            actor, reason = str(was["actor"]), str(was["reason"])
            controls.set_on(session, name, actor=actor, reason=reason, until=until)

    def _control(self, ground: Ground) -> str:
        return self._name + (ground.target if self._with_target else "")


class DisableModel(SetControl):
    """Takes a model out of service; only one that the store knows, so that a name that no entry
    ever asks about cannot count as a remedy.
    """

    def __init__(self) -> None:
        """Set the switch of the step's target."""
        super().__init__(controls.MODEL_DISABLED, with_target=True)

    def act(self, ground: Ground) -> bool:
        """Set it; raises ActionFailedError where the target is no model."""
        with ground.transaction() as session:
            known = session.get(ModelRecord, ground.target) or session.get(
                ModelAlias, ground.target
            )
        if known is None:
            raise ActionFailedError(f"No model is named {ground.target!r}.")
        return super().act(ground)
