"""The journal of a cycle: its head with every input, and one row for each symbol."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import insert
from sqlalchemy.orm import Session

from homeostat.store.prepared import Prepared
from homeostat.store.trading import DecisionCycle, write_decisions
from homeostat.trading.flow.batch import OPENED, Batch
from homeostat.trading.market import digest

_HEAD = Prepared(
    insert(DecisionCycle.__table__),  # type: ignore[arg-type]  # a model's table is a Table at run time
    *DecisionCycle.__table__.c.keys(),
)


def journal(
    session: Session,
    batch: Batch,
    *,
    cycle_id: str,
    due_at: datetime,
    book: str,
    inputs: dict[str, Any],
    counts: dict[str, Any],
) -> dict[str, int]:
    """Write the cycle and its decisions, and return the counts by rule.

    Raises IntegrityError where another worker has journaled the same tick: nothing of this cycle
    may then be kept.
    """
    rules, written = batch.counts(), batch.rules
    close = batch.panel.close[:, -1]
    price = np.where(np.isfinite(close), close, 0.0)
    numbers = [batch.signals.side.astype(np.float64), batch.signals.confidence, price]
    numbers += [batch.volatility, *batch.barriers, batch.size]
    # A zero with a sign comes back from the store without it.
    marks = digest.packed(digest.row_marks(np.array(numbers) + 0.0, written))
    head = {
        "id": cycle_id,
        "due_at": due_at,
        "book": book,
        "inputs": {**inputs, "rows": marks},
        "counts": {"rules": rules, **counts},
    }
    _HEAD.change(session, **head)
    columns: dict[str, list[Any]] = {
        "symbol": list(batch.panel.symbols),
        "rule": written,
        "approved": [rule == OPENED for rule in written],
        "side": batch.signals.side.tolist(),
        "confidence": batch.signals.confidence.tolist(),
        "price": price.tolist(),
        "volatility": batch.volatility.tolist(),
        "take_profit": batch.barriers[0].tolist(),
        "stop_loss": batch.barriers[1].tolist(),
        "trail": batch.barriers[2].tolist(),
        "partial": batch.barriers[3].tolist(),
        "size": batch.size.tolist(),
    }
    write_decisions(session, cycle_id, columns)
    return rules
