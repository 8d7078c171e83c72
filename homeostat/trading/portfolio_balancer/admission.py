"""Who of a batch is let in: in order of priority, each seeing what those before it were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from homeostat.trading.portfolio_balancer.limits import Candidate, Held, Limits, deny_code


class Verdict(NamedTuple):
    """What became of a candidate: `code` is empty where its room was reserved."""

    candidate: Candidate
    code: str = ""


def admitted(
    candidates: Sequence[Candidate], held: Held, limits: Limits
) -> tuple[list[Verdict], list[Candidate]]:
    """Return a verdict on each candidate, best first, and those that are newly let in.

    `held` grows by them. A decision that is held already is given its old verdict.
    """
    known = {one.decision_id for one in held.rows}
    verdicts, taken = [], []
    for candidate in sorted(candidates, key=lambda one: -one.priority):
        code = "" if candidate.decision_id in known else deny_code(candidate, held, limits)
        verdicts.append(Verdict(candidate, code))
        if not code and candidate.decision_id not in known:
            held.take(candidate)
            taken.append(candidate)
            known.add(candidate.decision_id)
    return verdicts, taken
