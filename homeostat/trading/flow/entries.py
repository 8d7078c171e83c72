"""The gates of an entry, in order, over a batch of symbols; each refusal has the rule's name."""

from __future__ import annotations

import numpy as np
from sqlalchemy.orm import Session

from homeostat.store import controls
from homeostat.trading import signals as agents
from homeostat.trading.flow.batch import Batch
from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market.panel import Panel
from homeostat.trading.signals import Agent

NO_SIGNAL = "NO_SIGNAL"


def decide(
    session: Session, panel: Panel, model: Agent | None, ground: Ground, parties: Parties
) -> Batch:
    """Pass the batch through every gate up to the reservation."""
    batch = Batch.of(panel, agents.signals(panel, ground.at, model))
    if rule := ground.entry_rule():
        batch.stop_all(rule)
    if model is None:
        batch.stop_all("RETRAINING_AWAY")
    gate_universe(batch, ground, parties)
    gate_signals(batch, session, ground, parties)
    gate_barriers(batch, parties)
    return batch


def gate_universe(batch: Batch, ground: Ground, parties: Parties) -> None:
    """Stop what is not in the universe; without a universe, everything."""
    rules = parties.consult(
        "trading.universe_os",
        lambda one: one.admit(ground.universe, batch.panel.symbols, ground.at),
    )
    if rules is None:
        batch.stop_all("UNIVERSE_AWAY")
    else:
        batch.stop_each(rules)


def gate_signals(batch: Batch, session: Session, ground: Ground, parties: Parties) -> None:
    """Stop abstentions, a model out of service, a biased side, and what is not sure enough."""
    found = batch.signals
    if controls.MODEL_DISABLED + found.model in ground.switches:
        batch.stop_all("MODEL_DISABLED")
        return
    abstained = found.digest()
    if abstained:
        batch.stop_each([f"ABSTAIN_{reason}" if reason else "" for reason in found.abstained])
    batch.stop(found.side == 0, NO_SIGNAL)
    sure = found.confidence >= ground.floor
    longs = int((sure & (found.side > 0)).sum())
    shorts = int((sure & (found.side < 0)).sum())

    tally = parties.ask(
        "trading.model_supervisor",
        lambda one: one.count(session, found.model, longs, shorts, abstained),
    )
    if tally is None:
        batch.stop_all("MODEL_SUPERVISOR_AWAY")
    else:
        batch.told["supervisor"] = tally._asdict()
        if tally.side:
            batch.stop(found.side == tally.side, "BIAS_BLOCKED")
    batch.stop(~sure, "CONFIDENCE_FLOOR")


def gate_barriers(batch: Batch, parties: Parties) -> None:
    """Set the barriers of all that are left, in one call."""
    from homeostat.trading.dynamic_tpsl import expected_volatility

    rows = batch.open_rows()
    if not len(rows):
        return
    expected = expected_volatility(batch.panel)
    batch.volatility = np.where(np.isfinite(expected), expected, 0.0)
    found = parties.consult(
        "trading.dynamic_tpsl",
        lambda one: one.barriers(batch.signals.confidence[rows], batch.volatility[rows]),
    )
    if found is None:
        batch.stop(rows, "TPSL_AWAY")
        return
    batch.barriers[:, rows] = np.array(found)
    batch.stop(rows[batch.barriers[1, rows] <= 0], "NO_BARRIER")
