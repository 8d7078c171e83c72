"""The trade flow: exits first and always, then entries through every gate, then the journal.

One call decides on the whole batch of symbols in the caller's transaction. A subsystem that is
away blocks entries by name and never an exit.
"""

from homeostat.trading.flow.canary import canary
from homeostat.trading.flow.cycle import LOOKBACK, Summary, cycle, has_run
from homeostat.trading.flow.hooks import HOOKS
from homeostat.trading.flow.parties import PartyFailedError

__all__ = ["HOOKS", "LOOKBACK", "PartyFailedError", "Summary", "canary", "cycle", "has_run"]
