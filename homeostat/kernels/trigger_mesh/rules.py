"""Rules: event pattern → incident or task; a rule whose event nothing produces is refused."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from homeostat.errors import HomeostatError
from homeostat.incidents.failure import Severity

SHIPPED = Path(__file__).with_name("rules.toml")
_FIELD = re.compile(r"\{(\w+)\}")


class RuleError(HomeostatError):
    """The trigger rules cannot be used; correct the file."""

    exit_code = 78


class IncidentForm(BaseModel):
    """The incident that a rule opens; {field} is taken from the event's payload."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(pattern=r"^[A-Z]\w+$")
    component: str
    severity: Severity
    message: str


class Rule(BaseModel):
    """One rule; after a firing for a subject, the next one for it waits out the cooldown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    event: str
    where: Mapping[str, str] = {}
    subject: str = ""
    incident: IncidentForm | None = None
    task: str | None = None
    at_least: int = Field(1, ge=1)
    within_s: float = Field(600.0, gt=0)
    cooldown_s: float = Field(60.0, ge=0)
    most_per_hour: int = Field(60, ge=1)

    @model_validator(mode="after")
    def _does_one_thing(self) -> Rule:
        if (self.incident is None) == (self.task is None):
            raise ValueError("a rule names either an incident or a task")
        return self

    def fits(self, payload: Mapping[str, JsonValue]) -> bool:
        """Return whether the event's payload is what the rule waits for."""
        return all(str(payload.get(name)) == value for name, value in self.where.items())


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...]


def filled(form: str, payload: Mapping[str, JsonValue]) -> str:
    """Return the form with each {field} replaced by the payload's value, or by a question mark."""
    return _FIELD.sub(lambda match: str(payload.get(match[1], "?")), form)


def load(path: Path = SHIPPED) -> tuple[Rule, ...]:
    """Read the rules; raises RuleError with the place of what is wrong."""
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).rules
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RuleError(f"The trigger rules {path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RuleError(f"The trigger rules {path}, at {place}: {first['msg']}.") from error


def refuse_unfed(
    rules: Collection[Rule],
    publishers: Mapping[str, Collection[str]],
    kinds: Collection[str],
    components: Collection[str],
) -> None:
    """Raise RuleError for the first rule whose event no component produces.

    `publishers` are the declared topics with the patterns of who may publish to them; `kinds` are
    the observations that this kernel makes itself.
    """
    for rule in rules:
        patterns = publishers.get(rule.event, ())
        if not any(fnmatchcase(name, one) for name in components for one in patterns):
            raise RuleError(f"Nothing produces the event {rule.event!r} of the rule {rule.name!r}.")
        kind = rule.where.get("kind")
        if rule.event == "observation.made" and kind not in kinds:
            raise RuleError(f"Nothing observes {kind!r}, which the rule {rule.name!r} waits for.")
