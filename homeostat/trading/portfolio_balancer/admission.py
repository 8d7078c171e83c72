"""Who of a batch is let in, in order of priority, and whether a reservation may grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from homeostat.trading.portfolio_balancer.limits import (
    Candidate,
    Held,
    Holding,
    Limits,
    deny_code,
    shut,
)
from homeostat.trading.portfolio_balancer.moves import Moves


class Verdict(NamedTuple):
    """What became of a candidate: `code` is empty where its room was reserved."""

    candidate: Candidate
    code: str = ""


class Growth(NamedTuple):
    """Whether a reservation may grow (`code` is empty), and what was reserved before it did.

    `held` is what the book held, this reservation included, when that was asked.
    """

    code: str
    risk: float = 0.0
    notional: float = 0.0
    margin: float = 0.0
    held: Sequence[Holding] = ()


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


class Wish(NamedTuple):
    """A reservation that would grow by `notional`; its position's whole risk is then `risk`."""

    decision_id: str
    risk: float
    notional: float


def grown(
    wish: Wish, rows: Sequence[Holding], equity: float, limits: Limits, moves: Moves | None
) -> tuple[str, Candidate | None]:
    """Return the code that speaks against a reservation's growth, and what it would become.

    What it becomes has to pass every rule of an entry of that size: its symbol is open by intent,
    everything else counts.
    """
    own = next((one for one in rows if one.decision_id == wish.decision_id), None)
    if own is None or shut(Held(equity, rows), replace(limits, positions=len(rows) + 1)):
        return "CRITICAL_VIOLATIONS", None
    others = Held(equity, [one for one in rows if one is not own], moves)
    whole = Candidate(
        own.decision_id, own.symbol, own.side, wish.risk, own.notional + wish.notional, own.cluster
    )
    return deny_code(whole, others, limits), whole
