"""What the trading wing remembers: rules in force, decisions, the book, models, hook firings.

Money is in the quote currency, prices per unit of the base, shares and probabilities as
fractions. A decision's natural key is its cycle and symbol; an order's is its decision and kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime

#: The books that are kept: trades of the workload, and those of the canary that proves the flow.
PAPER = "paper"
CANARY = "canary"
#: What a new book begins with, in the quote currency.
FIRST_EQUITY = 10_000.0


class Directive(Base):
    """What `trading.ai_hfos` orders until it expires; a newer version replaces it."""

    __tablename__ = "directives"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    mode: Mapped[str] = mapped_column(String(16))
    health: Mapped[str] = mapped_column(String(16))
    allow_new_trades: Mapped[bool]
    reduce_global_risk: Mapped[bool]
    scale_position_sizes: Mapped[float]
    min_confidence: Mapped[float]
    max_positions: Mapped[int]
    max_leverage: Mapped[float]
    max_concentration: Mapped[float]
    reasons: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class DirectiveAck(Base):
    """A subsystem has read a directive and obeys it."""

    __tablename__ = "directive_acks"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    component: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class SafetyPolicy(Base):
    """The safety policy that followed from the health of the thirteen targets at a moment."""

    __tablename__ = "safety_policies"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    policy: Mapped[str] = mapped_column(String(24))
    overall: Mapped[str] = mapped_column(String(16))
    targets: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    actions: Mapped[list[Any]] = mapped_column(JSON, default=list)


class UniverseSnapshot(Base):
    """Which symbols might be traded at a moment, and which rule kept each of the others out."""

    __tablename__ = "universe_snapshots"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    mode: Mapped[str] = mapped_column(String(16))
    profile: Mapped[str] = mapped_column(String(16))
    rebuilt_at: Mapped[datetime] = mapped_column(UtcDateTime)
    selected: Mapped[list[Any]] = mapped_column(JSON)
    excluded: Mapped[dict[str, Any]] = mapped_column(JSON)


class UniverseMember(Base):
    """A symbol's standing: inside or not, for how many filters, its tier and its results."""

    __tablename__ = "universe_members"

    symbol: Mapped[str] = mapped_column(String(48), primary_key=True)
    inside: Mapped[bool] = mapped_column(default=False)
    streak: Mapped[int] = mapped_column(default=0)
    tier: Mapped[str] = mapped_column(String(16), default="CONDITIONAL")
    trades: Mapped[int] = mapped_column(default=0)
    wins: Mapped[int] = mapped_column(default=0)
    sum_r: Mapped[float] = mapped_column(default=0.0)


class DecisionCycle(Base):
    """One pass of the flow over all symbols, with every input that its decisions rest on."""

    __tablename__ = "decision_cycles"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    book: Mapped[str] = mapped_column(String(16))
    inputs: Mapped[dict[str, Any]] = mapped_column(JSON)
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)

    __table_args__ = (UniqueConstraint("book", "due_at", name="uq_decision_cycles_book_due_at"),)


class Decision(Base):
    """What was decided on one symbol in one cycle, and the rule that decided it.

    `side` is 1 long, -1 short, 0 none. Rows are narrow on purpose: there are 222 a minute.
    """

    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_rule", "rule"),)

    cycle_id: Mapped[str] = mapped_column(ForeignKey("decision_cycles.id"), primary_key=True)
    symbol: Mapped[str] = mapped_column(String(48), primary_key=True)
    rule: Mapped[str] = mapped_column(String(40))
    approved: Mapped[bool]
    side: Mapped[int]
    confidence: Mapped[float]
    price: Mapped[float]
    volatility: Mapped[float]
    take_profit: Mapped[float]
    stop_loss: Mapped[float]
    trail: Mapped[float]
    partial: Mapped[float]
    size: Mapped[float]


class Order(Base):
    """One order under an id of our own, so that sending it twice can fill it only once."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_resting", "state", "book"),)

    client_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    decision_id: Mapped[str] = mapped_column(String(96), index=True)
    book: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(48))
    kind: Mapped[str] = mapped_column(String(16))
    side: Mapped[int]
    quantity: Mapped[float]
    trigger: Mapped[float | None]
    reduce_only: Mapped[bool]
    state: Mapped[str] = mapped_column(String(12))
    price: Mapped[float | None]
    fee: Mapped[float] = mapped_column(default=0.0)
    slippage: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Position(Base):
    """An open or closed position; `risk_per_unit` is one R: entry to first stop, in price."""

    __tablename__ = "positions"
    __table_args__ = (Index("ix_positions_open", "book", "closed_at"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    decision_id: Mapped[str] = mapped_column(String(96), unique=True)
    book: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(48))
    model: Mapped[str] = mapped_column(String(48))
    cluster: Mapped[int] = mapped_column(default=0)
    side: Mapped[int]
    quantity: Mapped[float]
    first_quantity: Mapped[float]
    entry: Mapped[float]
    stop: Mapped[float]
    take_profit: Mapped[float]
    trail: Mapped[float]
    partial: Mapped[float]
    partial_taken: Mapped[bool] = mapped_column(default=False)
    risk_per_unit: Mapped[float]
    confidence: Mapped[float]
    mark: Mapped[float]
    peak_r: Mapped[float] = mapped_column(default=0.0)
    adds: Mapped[int] = mapped_column(default=0)
    bars: Mapped[int] = mapped_column(default=0)
    label: Mapped[str] = mapped_column(String(8), default="SAFE")
    pending_label: Mapped[str] = mapped_column(String(8), default="SAFE")
    advice: Mapped[str] = mapped_column(String(12), default="HOLD")
    costs: Mapped[float] = mapped_column(default=0.0)
    realised: Mapped[float] = mapped_column(default=0.0)
    marked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    exit_rule: Mapped[str] = mapped_column(String(32), default="")


class Book(Base):
    """One book's equity and what is reserved of it; its row is the lock of every reservation."""

    __tablename__ = "books"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    equity: Mapped[float]
    peak_equity: Mapped[float]
    version: Mapped[int] = mapped_column(default=0)
    #: The drawdown machine's level (NORMAL, SAFE, CRITICAL, HALT) with its hysteresis.
    drawdown_level: Mapped[str] = mapped_column(String(12), default="NORMAL")


class EquityPoint(Base):
    """A book's equity at the end of a cycle."""

    __tablename__ = "equity_points"

    book: Mapped[str] = mapped_column(String(16), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    equity: Mapped[float]
    open_positions: Mapped[int]


class Reservation(Base):
    """Risk and margin set aside for a decision, held until its position is closed."""

    __tablename__ = "reservations"
    __table_args__ = (Index("ix_reservations_book", "book", "state"),)

    decision_id: Mapped[str] = mapped_column(String(96), primary_key=True)
    book: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(48))
    side: Mapped[int]
    cluster: Mapped[int]
    risk: Mapped[float]
    margin: Mapped[float]
    notional: Mapped[float]
    state: Mapped[str] = mapped_column(String(12), default="HELD")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class ModelRecord(Base):
    """A model's persisted counts and what the supervisor concluded from them."""

    __tablename__ = "model_records"

    model: Mapped[str] = mapped_column(String(48), primary_key=True)
    longs: Mapped[int] = mapped_column(default=0)
    shorts: Mapped[int] = mapped_column(default=0)
    outcomes: Mapped[int] = mapped_column(default=0)
    wins: Mapped[int] = mapped_column(default=0)
    sum_r: Mapped[float] = mapped_column(default=0.0)
    gross_profit: Mapped[float] = mapped_column(default=0.0)
    gross_loss: Mapped[float] = mapped_column(default=0.0)
    brier: Mapped[float | None]
    calibration_error: Mapped[float | None]
    rank: Mapped[float | None]
    blocked_side: Mapped[int] = mapped_column(default=0)
    health: Mapped[str] = mapped_column(String(12), default="UNKNOWN")
    drift: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    abstained: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class ModelOutcome(Base):
    """A signal's delayed label: what the trade that followed it came to, in R."""

    __tablename__ = "model_outcomes"
    __table_args__ = (Index("ix_model_outcomes_model_at", "model", "at"),)

    decision_id: Mapped[str] = mapped_column(String(96), primary_key=True)
    model: Mapped[str] = mapped_column(String(48))
    symbol: Mapped[str] = mapped_column(String(48))
    side: Mapped[int]
    confidence: Mapped[float]
    won: Mapped[bool]
    r: Mapped[float]
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class ModelArtifact(Base):
    """One trained model, whole: its bytes, their digest, and how it was judged."""

    __tablename__ = "model_artifacts"
    __table_args__ = (Index("ix_model_artifacts_name_state", "name", "state"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(48))
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(12))
    trained_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    samples: Mapped[int] = mapped_column(default=0)


class ModelAlias(Base):
    """Which artefact a model's name stands for now, and which it stood for before."""

    __tablename__ = "model_aliases"

    name: Mapped[str] = mapped_column(String(48), primary_key=True)
    artifact_id: Mapped[str] = mapped_column(ForeignKey("model_artifacts.id"))
    previous_id: Mapped[str | None] = mapped_column(String(36))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class RetrainingDecision(Base):
    """Whether a model was retrained and promoted, by which trigger, and why or why not."""

    __tablename__ = "retraining_decisions"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)
    model: Mapped[str] = mapped_column(String(48))
    triggers: Mapped[list[Any]] = mapped_column(JSON)
    verdict: Mapped[str] = mapped_column(String(16))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class HookFiring(Base):
    """Whether a hook of the trade flow really did its step for a canary, and what it left."""

    __tablename__ = "hook_firings"
    __table_args__ = (UniqueConstraint("run_id", "hook", name="uq_hook_firings_run_id_hook"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(String(36), index=True)
    hook: Mapped[str] = mapped_column(String(48))
    fired: Mapped[bool]
    artefact: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, index=True)


def decision_id(cycle_id: str, symbol: str) -> str:
    """Return the text by which people and orders name a decision."""
    return f"{cycle_id}.{symbol}"


def client_order_id(decision: str, kind: str) -> str:
    """Return the order's own id: the same for every try (32 of the 36 characters allowed)."""
    return hashlib.sha256(f"{decision}/{kind}".encode()).hexdigest()[:32]


def latest_directive(session: Session) -> Directive | None:
    """Return the newest directive, expired or not."""
    return session.scalar(select(Directive).order_by(Directive.version.desc()).limit(1))


def latest_policy(session: Session) -> SafetyPolicy | None:
    """Return the newest safety policy, expired or not."""
    return session.scalar(select(SafetyPolicy).order_by(SafetyPolicy.id.desc()).limit(1))


def latest_universe(session: Session) -> UniverseSnapshot | None:
    """Return the newest universe, expired or not."""
    return session.scalar(select(UniverseSnapshot).order_by(UniverseSnapshot.id.desc()).limit(1))


def open_positions(session: Session, book: str) -> Sequence[Position]:
    """Return the open positions of a book, oldest first."""
    statement = select(Position).where(Position.book == book, Position.closed_at.is_(None))
    return session.scalars(statement.order_by(Position.id)).all()


def book_of(session: Session, name: str, *, lock: bool = False) -> Book:
    """Return the book's row, locked until the commit where asked; made at first use."""
    statement = select(Book).where(Book.name == name)
    statement = statement.execution_options(populate_existing=lock)
    book = session.scalar(statement.with_for_update() if lock else statement)
    if book is not None:
        return book
    postgresql = session.get_bind().dialect.name == "postgresql"
    insert = (postgresql_insert if postgresql else sqlite_insert)(Book).values(
        name=name, equity=FIRST_EQUITY, peak_equity=FIRST_EQUITY, version=0, drawdown_level="NORMAL"
    )
    # Two processes may find no row; only one of them makes it.
    session.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
    return session.scalars(statement.with_for_update() if lock else statement).one()


def acknowledge(session: Session, component: str) -> int:
    """Note that the component has read the newest directive; returns its version, or 0."""
    directive = latest_directive(session)
    if directive is None:
        return 0
    if session.get(DirectiveAck, (directive.version, component)) is None:
        session.add(DirectiveAck(version=directive.version, component=component))
        session.flush()
    return directive.version
