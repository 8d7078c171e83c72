"""A language model's patch, asked for when nothing else has held; off unless an address is set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.errors import HomeostatError
from homeostat.incidents.redaction import protect
from homeostat.repair import signature
from homeostat.repair.case import Candidate, Case, DefectClass, Origin
from homeostat.repair.language_model.answer import read_answer
from homeostat.repair.language_model.budget import Budget
from homeostat.repair.language_model.prompt import question_about
from homeostat.repair.language_model.provider import Answer, Provider, ProviderError
from homeostat.settings import Settings, settings
from homeostat.store.database import transaction

NAME = "language_model"
_WHY = "a language model's patch waits for a person"
_ACTOR = "repair.language_model"
_SCHEME = "secret://"


class SecretManager(Protocol):
    """What is asked of `kernels.secret_manager`."""

    def resolve(self, session: Session, setting: str, *, actor: str) -> str:
        """Return a setting's value, looked up where it says `secret://name`."""


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the model's patch, or a candidate without changes that says why there is none."""
    told = settings()
    if not told.llm_url:
        return
    try:
        answer = _ask(case, told)
        title, changes = read_answer(answer.text, case.tree)
    except HomeostatError as error:
        yield _candidate("The language model gave no patch.", {}, told, flaw=str(error))
        return
    yield _candidate(title or "A language model's patch.", changes, told)


def _ask(case: Case, told: Settings) -> Answer:
    budget = Budget(told, signature.keys_of(case.failure, case.tree).group_key)
    provider = provider_of(told)
    refusal = budget.refusal()
    if refusal:
        raise ProviderError(refusal)
    answer = provider.ask(question_about(case))
    budget.used(answer.tokens)
    return answer


def provider_of(told: Settings) -> Provider:
    """Return the provider of the settings; its key is looked up where it is a secret's name."""
    # httpx is wanted only here, and takes a tenth of a second to import.
    from homeostat.repair.language_model.chat_completions import ChatCompletions

    key = told.llm_key.get_secret_value()
    if key.startswith(_SCHEME):
        manager: SecretManager = registry.find("kernels.secret_manager")  # type: ignore[assignment]  # asked for by its port
        with transaction() as session:
            key = manager.resolve(session, key, actor=_ACTOR)
    if key:
        protect(key)
    return ChatCompletions(told.llm_url, told.llm_model, key, told.llm_timeout_s)


def _candidate(
    title: str, changes: dict[str, str | None], told: Settings, *, flaw: str = ""
) -> Candidate:
    return Candidate(
        strategy=NAME,
        defect=DefectClass.UNKNOWN,
        title=title,
        changes=changes,
        origin=Origin.LLM,
        score=0.1,
        waits_because=_WHY,
        parameters={"model": told.llm_model},
        flaw=flaw,
    )
