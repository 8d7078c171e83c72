"""The policy file: rules that say which action may happen by itself; unknown keys are refused."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homeostat.errors import HomeostatError
from homeostat.settings import Mode

SHIPPED = Path(__file__).with_name("policy.toml")


class PolicyError(HomeostatError):
    """The governance policy cannot be used; correct the file, or unset HOMEOSTAT_POLICY_FILE."""

    exit_code = 78


class Risk(StrEnum):
    """How much an action can spoil."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The place in the order, from 0."""
        return list(Risk).index(self)


class Verdict(StrEnum):
    """What a rule says."""

    ALLOW = "allow"
    APPROVE = "approve"
    REFUSE = "refuse"


class Rule(BaseModel):
    """One rule of the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    actions: tuple[str, ...] = Field(min_length=1)
    actors: tuple[str, ...] = ("*",)
    max_risk: Risk = Risk.CRITICAL
    verdict: Verdict
    proven: int | None = Field(None, ge=1)
    most_per_hour: int | None = Field(None, ge=1)

    def names(self, action: str, actor: str) -> bool:
        """Return whether the rule speaks of this action by this actor."""
        return any(fnmatchcase(action, one) for one in self.actions) and any(
            fnmatchcase(actor, one) for one in self.actors
        )


class Policy(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval_valid_hours: float = Field(24.0, gt=0)
    rules: tuple[Rule, ...] = Field(min_length=1)

    def rule_for(self, action: str, actor: str) -> Rule | None:
        """Return the first rule that speaks of this action by this actor."""
        return next((rule for rule in self.rules if rule.names(action, actor)), None)


def load(path: Path | None) -> Policy:
    """Return the policy as the file says it now; raises PolicyError with the place of a fault."""
    path = path or SHIPPED
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"The policy {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"The policy {path} is no TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PolicyError(f"The policy {path} is not usable at {place}: {first['msg']}.") from error


@lru_cache(maxsize=2)
def _parsed(text: str) -> Policy:
    """Return the policy of that text; every decision reads the file, and a text is parsed once."""
    return Policy.model_validate(tomllib.loads(text))


def ruled(
    policy: Policy, *, action: str, risk: Risk, actor: str, mode: Mode, successes: int
) -> tuple[Verdict, str, Rule | None]:
    """Return the verdict, its reason and its rule, before freeze and budget are looked at.

    `successes` counts proven successes in a row of the same signature.
    """
    rule = policy.rule_for(action, actor)
    if rule is None:
        return Verdict.REFUSE, f"no rule names {action} by {actor}", None
    if rule.verdict is Verdict.REFUSE:
        return Verdict.REFUSE, rule.name, rule
    if mode in {Mode.OFF, Mode.OBSERVE}:
        return Verdict.REFUSE, f"the mode is {mode}: nothing acts by itself", rule
    if mode is Mode.ADVISORY:
        return Verdict.APPROVE, "the mode is ADVISORY: a person decides", rule
    if risk.rank > rule.max_risk.rank:
        return Verdict.APPROVE, f"the risk is {risk}, above {rule.max_risk}", rule
    if rule.verdict is Verdict.ALLOW:
        return Verdict.ALLOW, rule.name, rule
    if rule.proven is not None and successes >= rule.proven:
        return Verdict.ALLOW, f"proven {successes} times in a row", rule
    return Verdict.APPROVE, rule.name, rule
