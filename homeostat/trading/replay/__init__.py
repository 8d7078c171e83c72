"""Derives decisions and what came of them anew from the journal and the data, and says why."""

from homeostat.trading.replay.compare import Replayed
from homeostat.trading.replay.explanation import NoSuchDecisionError, explain
from homeostat.trading.replay.report import Change, Quoted, Report
from homeostat.trading.replay.walk import replay

__all__ = ["Change", "NoSuchDecisionError", "Quoted", "Replayed", "Report", "explain", "replay"]
