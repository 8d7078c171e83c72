"""What each symbol's trades have come to, and the tier that follows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from homeostat.store.rows import read_anew
from homeostat.store.trading import UniverseMember
from homeostat.trading.universe_os.filters import tier_of

_TABLE: Any = UniverseMember.__table__
_C = _TABLE.c
_SUMS = select(_C.trades, _C.wins, _C.sum_r).where(_C.symbol == bindparam("key")).with_for_update()
_WRITE = (
    update(_TABLE)
    .where(_C.symbol == bindparam("key"))
    .values({name: bindparam(name) for name in ("trades", "wins", "sum_r", "tier")})
)


def record(session: Session, symbol: str, r: float) -> None:
    """Add one closed trade's result, in R, to the symbol's, and set its tier anew."""
    connection = session.connection()
    known = connection.execute(_SUMS, {"key": symbol}).first()
    trades, wins, sum_r = known or (0, 0, 0.0)
    trades, wins, sum_r = trades + 1, wins + (r > 0), sum_r + r
    tier = tier_of(trades, wins, sum_r)
    sums = {"trades": trades, "wins": wins, "sum_r": sum_r, "tier": tier}
    if known is None:
        row = {"symbol": symbol, "inside": False, "streak": 0, **sums}
        connection.execute(insert(_TABLE), row)
        return
    read_anew(session, UniverseMember, symbol)
    connection.execute(_WRITE, {"key": symbol, **sums})
