"""Derives decisions anew from the journal and the data, and says why they were taken."""

from homeostat.trading.replay.compare import Replayed
from homeostat.trading.replay.explanation import NoSuchDecisionError, explain
from homeostat.trading.replay.walk import Change, Report, replay

__all__ = ["Change", "NoSuchDecisionError", "Replayed", "Report", "explain", "replay"]
