"""A position as the flow opens it; each test names what of it matters."""

from __future__ import annotations

from typing import Any

from homeostat.store.trading import PAPER, Position


def held_position(**more: Any) -> Position:
    """Return 10 bought at 100 in the paper book, the stop 2 below: one R; `more` is otherwise."""
    usual: dict[str, Any] = {
        "decision_id": "c.BTCUSDT",
        "book": PAPER,
        "symbol": "BTCUSDT",
        "model": "m",
        "side": 1,
        "quantity": 10.0,
        "first_quantity": 10.0,
        "entry": 100.0,
        "stop": 98.0,
        "take_profit": 104.0,
        "trail": 0.01,
        "partial": 0.5,
        "risk_per_unit": 2.0,
        "confidence": 0.7,
        "mark": 100.0,
    }
    return Position(**{**usual, **more})
