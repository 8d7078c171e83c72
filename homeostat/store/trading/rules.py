"""What is in force: directives, safety policies, universes, and who may be traded by them."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Select, String, bindparam, literal, select, true
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.clock import new_id, utcnow
from homeostat.store.base import JSON, Base, UtcDateTime
from homeostat.store.prepared import Prepared


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


# Statements that every cycle sends are made once: making one costs as much as sending it.
_DIRECTIVE = select(Directive).order_by(Directive.version.desc()).limit(1)


def latest_directive(session: Session) -> Directive | None:
    """Return the newest directive, expired or not."""
    return session.scalar(_DIRECTIVE)


def latest_policy(session: Session) -> SafetyPolicy | None:
    """Return the newest safety policy, expired or not."""
    return session.scalar(select(SafetyPolicy).order_by(SafetyPolicy.id.desc()).limit(1))


def latest_universe(session: Session) -> UniverseSnapshot | None:
    """Return the newest universe, expired or not."""
    return session.scalar(select(UniverseSnapshot).order_by(UniverseSnapshot.id.desc()).limit(1))


class PolicyHead(NamedTuple):
    """What the flow asks of the newest safety policy."""

    id: str
    expires_at: datetime
    policy: str


class UniverseHead(NamedTuple):
    """What the flow asks of the newest universe."""

    id: str
    expires_at: datetime
    mode: str
    selected: frozenset[str]


_P, _U, _D = SafetyPolicy.__table__.c, UniverseSnapshot.__table__.c, Directive.__table__.c
_SELECTED = select(_U.selected).where(_U.id == bindparam("id"))
#: What the flow asks of the newest directive: everything but why it was issued.
_OBEYED = tuple(column for column in _D if column.name != "reasons")


def _in_force() -> Select[Any]:
    """Return one row of the newest policy, universe and directive, NULL where there is none.

    A statement costs a cycle more than what it reads, so the three are asked for at once.
    """
    one = select(literal(1).label("one")).subquery("one")
    policy = select(_P.id, _P.expires_at, _P.policy).order_by(_P.id.desc()).limit(1)
    universe = select(_U.id, _U.expires_at, _U.mode).order_by(_U.id.desc()).limit(1)
    directive = select(*_OBEYED).order_by(_D.version.desc()).limit(1)
    p, u, d = policy.subquery("p"), universe.subquery("u"), directive.subquery("d")
    joined = one.outerjoin(p, true()).outerjoin(u, true()).outerjoin(d, true())
    return select(*p.c, *u.c, *d.c).select_from(joined)


_IN_FORCE = Prepared(_in_force())
#: The newest universe's symbols by its id: a snapshot is written once, and read every cycle.
_members: dict[str, frozenset[str]] = {}


class InForce(NamedTuple):
    """The newest policy, directive and universe, expired or not; None where there is none.

    The directive is a copy without its reasons: changing it changes nothing.
    """

    policy: PolicyHead | None
    directive: Directive | None
    universe: UniverseHead | None


def in_force(session: Session) -> InForce:
    """Return what the flow obeys, read in one look."""
    [row] = _IN_FORCE.rows(session)
    policy, policy_until, rule, universe, until, mode, *directive = row
    return InForce(
        PolicyHead(policy, policy_until, rule) if policy is not None else None,
        _obeyed(*directive) if directive[0] is not None else None,
        UniverseHead(universe, until, mode, _symbols(session, universe)) if universe else None,
    )


@lru_cache(maxsize=2)
def _obeyed(*values: Any) -> Directive:
    return Directive(**dict(zip((column.name for column in _OBEYED), values, strict=True)))


def _symbols(session: Session, universe: str) -> frozenset[str]:
    members = _members.get(universe)
    if members is None:
        members = frozenset(session.execute(_SELECTED, {"id": universe}).scalar_one())
        _members.clear()
        _members[universe] = members
    return members


def acknowledge(session: Session, component: str) -> int:
    """Note that the component has read the newest directive; returns its version, or 0."""
    directive = latest_directive(session)
    if directive is None:
        return 0
    if session.get(DirectiveAck, (directive.version, component)) is None:
        session.add(DirectiveAck(version=directive.version, component=component))
        session.flush()
    return directive.version
