"""The model's budget: calls and tokens for one incident and for one day, charged beforehand."""

from __future__ import annotations

from homeostat.clock import utcnow
from homeostat.settings import Settings
from homeostat.store.database import transaction
from homeostat.store.model_budgets import charge_call, charge_tokens


class Budget:
    """The two accounts of one incident's question."""

    def __init__(self, settings: Settings, incident_key: str) -> None:
        self._day = f"day:{utcnow():%Y-%m-%d}"
        self._incident = f"incident:{incident_key}"
        self._settings = settings

    def refusal(self) -> str:
        """Charge one call; return why it may not be made, empty where it may."""
        told = self._settings
        bounds = (
            (self._incident, told.llm_calls_per_incident, told.llm_tokens_per_incident),
            (self._day, told.llm_calls_per_day, told.llm_tokens_per_day),
        )
        with transaction() as session:
            for account, calls, tokens in bounds:
                if not charge_call(session, account, most_calls=calls, most_tokens=tokens):
                    session.rollback()
                    return (
                        f"the model's budget of {calls} calls or {tokens} tokens is used up "
                        f"({account.partition(':')[0]})"
                    )
        return ""

    def used(self, tokens: int) -> None:
        """Charge the tokens of an answer."""
        with transaction() as session:
            charge_tokens(session, self._incident, tokens)
            charge_tokens(session, self._day, tokens)
