"""What the open positions of one cycle are managed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from homeostat.trading.flow.ground import Ground
from homeostat.trading.flow.parties import Parties
from homeostat.trading.market.panel import Instrument, Panel


@dataclass(frozen=True)
class Floor:
    """What the open positions are managed with."""

    session: Session
    panel: Panel
    listed: Mapping[str, Instrument]
    parties: Parties
    ground: Ground
    #: What the balancer was shown of the book when it was asked for room to add, by decision.
    asked: dict[str, Any] = field(default_factory=dict)
