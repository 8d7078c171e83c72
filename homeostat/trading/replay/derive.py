"""One cycle's decisions derived anew: the same gates, over the same data, by the present code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from homeostat.store.audit import AuditRow
from homeostat.store.trading import (
    Book,
    DecisionCycle,
    Directive,
    Order,
    Position,
    SafetyPolicy,
    UniverseSnapshot,
    client_order_id,
    decision_id,
)
from homeostat.trading.flow import entries, evidence, opening
from homeostat.trading.flow.batch import OPENED, Batch
from homeostat.trading.flow.ground import Ground
from homeostat.trading.market.panel import Instrument, Panel
from homeostat.trading.portfolio_balancer import Limits
from homeostat.trading.replay.recorded import BALANCER, Recorded, SilentError
from homeostat.trading.signals import Agent

#: Rules of the derivation itself: the way is another one from here on.
NOT_JOURNALED, NO_VERDICT, NO_ORDER = "BOOK_NOT_JOURNALED", "NO_VERDICT_LOGGED", "NO_ORDER"
_GOVERNANCE = "kernels.governance"
#: A cycle's acts are logged within this long of its beginning.
CYCLE_LIFE = timedelta(minutes=10)


@dataclass(frozen=True)
class Cycle:
    """A journaled cycle, with the panel that it saw and the model that it asked."""

    row: DecisionCycle
    panel: Panel
    #: None where nothing that it opened or refused is derived.
    model: Agent | None
    listed: Mapping[str, Instrument]

    @property
    def told(self) -> Mapping[str, Any]:
        """Everything that its decisions rested on."""
        return self.row.inputs


def derive(session: Session, cycle: Cycle, ground: Ground) -> Batch:
    """Return the cycle's batch with the rule that stops each row now."""
    away = frozenset(cycle.row.counts.get("away", {}))
    parties = Recorded(session, told=cycle.told, silent=away)
    # A cycle without its model stopped for that; what it would have said is in the journal too.
    model = None if "trading.retraining_orchestrator" in away else cycle.model
    batch = entries.decide(session, cycle.panel, model, ground, parties)
    rows = batch.open_rows()
    if not len(rows):
        return batch
    verdicts = _ask_for_room(session, cycle, ground, parties, batch)
    place = batch.panel.places
    logged = None
    for verdict in verdicts:
        row = place[verdict.candidate.symbol]
        if not verdict.code and logged is None:
            logged = dict(_governed(session, cycle.row))
        rule = verdict.code or _opened(session, cycle, batch, row, logged or {})
        batch.stop([row], rule)
    return batch


def _ask_for_room(
    session: Session, cycle: Cycle, ground: Ground, parties: Recorded, batch: Batch
) -> list[Any]:
    rows = batch.open_rows()
    told = cycle.told.get("book")
    book = Book(name=cycle.row.book, equity=told["equity"] if told else 0.0)

    def ask(pba: Any) -> list[Any]:
        asking = opening.Asking(pba, session, cycle.row.id, book, ground.directive, cycle.listed)
        return opening.ask_for_room(batch, asking, rows)

    try:
        found = parties.ask(BALANCER, ask)
    except SilentError:
        # It was not asked then, and would be now.
        batch.stop(rows, NOT_JOURNALED)
        return []
    if found is None:
        batch.stop(rows, "PBA_AWAY")
    return found or []


def _governed(session: Session, cycle: DecisionCycle) -> Iterator[tuple[str, str]]:
    """Yield (decision, rule or empty) for every opening that governance judged in this cycle."""
    began = ran_at(cycle.id) - timedelta(seconds=1)
    statement = select(AuditRow.action, AuditRow.payload).where(
        AuditRow.resource == "trade.open", AuditRow.at >= began, AuditRow.at < began + CYCLE_LIFE
    )
    for action, payload in session.execute(statement):
        allowed = action == "governance.allow"
        yield json.loads(payload).get("subject", ""), "" if allowed else "GOVERNANCE_REFUSED"
    oldest = session.scalar(select(func.min(AuditRow.at)))
    if oldest is None or oldest > began + CYCLE_LIFE:
        # The log of that time is no longer kept; the order itself is what is left.
        yield "", ""


def ran_at(cycle_id: str) -> datetime:
    """Return when the cycle was run: its id is made of that moment, once the exits are done."""
    milliseconds = int(cycle_id.replace("-", "")[:12], 16)
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def _opened(
    session: Session, cycle: Cycle, batch: Batch, row: int, logged: Mapping[str, str]
) -> str:
    """Return what became of a row that the balancer let in."""
    symbol = batch.panel.symbols[row]
    decision = decision_id(cycle.row.id, symbol)
    if decision not in logged and _GOVERNANCE in cycle.row.counts["away"]:
        return "GOVERNANCE_AWAY"
    if decision not in logged and "" not in logged:
        return NO_VERDICT
    if rule := logged.get(decision, ""):
        return rule
    quantity, price = float(batch.size[row]), float(batch.panel.close[row, -1])
    if quantity * price < cycle.listed[symbol].min_notional:
        return "ORDER_REJECTED"
    order = session.get(Order, client_order_id(decision, "ENTRY"))
    if order is None or order.side != batch.signals.side[row]:
        return NO_ORDER
    ended = session.scalar(select(Position.exit_rule).where(Position.decision_id == decision))
    return "NO_RESTING_STOP" if ended == "NO_RESTING_STOP" else OPENED


def present(session: Session, cycle: Cycle) -> tuple[Ground, list[tuple[str, str]]]:
    """Return the ground by the rows that the store holds now, and what of them is not as told.

    A row that is forgotten by now is taken from the journal. Raises KeyError where the journal
    tells of no ground at all: it is an older one.
    """
    told = evidence.ground_of(cycle.told, cycle.panel.symbols, cycle.row.due_at)
    ground = told
    changed: list[tuple[str, str]] = []
    if told.directive is not None:
        kept = session.get(Directive, told.directive.version)
        if kept is not None:
            names: tuple[str, ...] = (*evidence.DIRECTIVE, "expires_at")
            changed += _changes(
                "directive", f"directive {kept.version}", told.directive, kept, names
            )
            ground = replace(ground, directive=kept)
        else:
            changed += _unknown(session, "directive", Directive.version, told.directive.version)
    if told.policy is not None:
        policy = session.get(SafetyPolicy, told.policy.id)
        if policy is not None:
            # While nothing changes its row lives on: a later end is what came after the cycle.
            until = min(policy.expires_at, told.policy.expires_at)
            head = told.policy._replace(policy=policy.policy, expires_at=until)
            names = ("policy", "expires_at")
            changed += _changes("safety policy", "the safety policy", told.policy, head, names)
            ground = replace(ground, policy=head)
        else:
            changed += _unknown(session, "safety policy", SafetyPolicy.id, told.policy.id)
    if told.universe is not None:
        universe = session.get(UniverseSnapshot, told.universe.id)
        if universe is not None:
            head_ = told.universe._replace(
                mode=universe.mode,
                expires_at=universe.expires_at,
                selected=frozenset(universe.selected) & frozenset(cycle.panel.symbols),
            )
            names = ("mode", "expires_at", "selected")
            changed += _changes("universe", "the universe", told.universe, head_, names)
            ground = replace(ground, universe=head_)
        else:
            changed += _unknown(session, "universe", UniverseSnapshot.id, told.universe.id)
    return ground, changed


def _unknown(
    session: Session, step: str, key: InstrumentedAttribute[Any], told: Any
) -> Iterator[tuple[str, str]]:
    """Yield what is told of and not there, though older ones are: they are forgotten by age."""
    oldest = session.scalar(select(func.min(key)))
    if oldest is not None and oldest < told:
        yield step, f"the {step} {told} is not there, and older ones are"


def _changes(
    step: str, what: str, was: Any, now: Any, names: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    for name in names:
        one, other = getattr(was, name), getattr(now, name)
        if one != other:
            if isinstance(one, frozenset):
                one, other = sorted(one - other), sorted(other - one)
            yield step, f"{what}: {name} was {one}, and is {other} now"


def changed_limits(cycle: Cycle, ground: Ground) -> Iterator[tuple[str, str]]:
    """Yield each limit of the balancer that is another one now."""
    told = cycle.told.get("book")
    if told is None:
        return
    now = Limits() if ground.directive is None else Limits().under(ground.directive)
    for name, value in vars(now).items():
        if told["limits"].get(name) != value:
            yield "balancer", f"the limit {name} was {told['limits'].get(name)}, and is {value} now"
