"""What a language model may still be asked: calls and tokens, per incident and per day.

One row per account (`day:2026-11-21`, `incident:<group key>`), charged by one compare-and-set
statement, so that two processes cannot spend the same call.
"""

from __future__ import annotations

from sqlalchemy import CursorResult, String, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from homeostat.store.base import Base


class ModelBudget(Base):
    """What one account has used."""

    __tablename__ = "model_budgets"

    account: Mapped[str] = mapped_column(String(128), primary_key=True)
    calls: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(default=0)


def charge_call(session: Session, account: str, *, most_calls: int, most_tokens: int) -> bool:
    """Count one call where the account's bounds allow it; return whether they did."""
    if session.get(ModelBudget, account) is None:
        session.add(ModelBudget(account=account, calls=0, tokens=0))
        session.flush()
    done = session.execute(
        update(ModelBudget)
        .where(
            ModelBudget.account == account,
            ModelBudget.calls < most_calls,
            ModelBudget.tokens < most_tokens,
        )
        .values(calls=ModelBudget.calls + 1)
    )
    return isinstance(done, CursorResult) and done.rowcount == 1


def charge_tokens(session: Session, account: str, tokens: int) -> None:
    """Count the tokens that a call has used."""
    session.execute(
        update(ModelBudget)
        .where(ModelBudget.account == account)
        .values(tokens=ModelBudget.tokens + tokens)
    )
