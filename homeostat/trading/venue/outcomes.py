"""What may come of a call to the venue besides its answer, and which of ccxt's errors is which.

The one question that matters: may the request have been carried out? A refusal and a wait say
no. Everything that is not clearly one of them is UNKNOWN.
"""

from __future__ import annotations

import re
import time

from homeostat.errors import HomeostatError

_CODE = re.compile(r'"code"\s*:\s*"?(-?\d+)')
_SIGNATURE = re.compile(r"signature=[0-9a-fA-F]+")
#: Codes after which the venue itself says that the execution status is unknown, or is silent
#: about it: unknown, disconnected, unexpected response, timeout, server busy, duplicate id (an
#: order of ours is there already).
UNKNOWN_CODES = frozenset({-1000, -1001, -1006, -1007, -1008, -4116})
#: How long to wait where the venue asks us to and does not say for how long, in seconds.
USUAL_WAIT_S = 60.0


class VenueError(HomeostatError):
    """The venue did not do what was asked; `homeostat trade venue status` says how it stands."""

    exit_code = 69


class RefusedError(VenueError):
    """The venue refused the request and changed nothing."""

    def __init__(self, message: str, code: int = 0) -> None:
        """Keep the venue's code, 0 where it gave none."""
        super().__init__(message)
        self.code = code


class UnknownOutcomeError(VenueError):
    """Whether the venue carried the request out is unknown; it is looked up before another."""


class WaitError(VenueError):
    """The venue, or our own limit, lets nothing through for a while; nothing was done."""

    def __init__(self, message: str, until: float, *, sent: bool = False) -> None:
        """`until` is in epoch seconds; `sent` where the venue itself has answered so."""
        super().__init__(message)
        self.until, self.sent = until, sent


class AwayError(VenueError):
    """The venue has not answered for a while, so nothing was sent."""


class BadRowsError(VenueError):
    """The venue's answer is not what it should be, so none of it is used."""


def code_of(error: BaseException) -> int:
    """Return the venue's code from an error's text, 0 where there is none."""
    found = _CODE.search(str(error))
    return int(found.group(1)) if found else 0


def classified(error: Exception, wait_until: float) -> VenueError:
    """Return what an error of the client means for a request that may have an effect.

    `wait_until` is the published wait, in epoch seconds, for errors that ask us to wait.
    """
    import ccxt

    # A time-out names the address, signature and all.
    said = _SIGNATURE.sub("signature=…", f"{type(error).__name__}: {error}")
    code, text = code_of(error), said[:300]
    if isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
        until = wait_until or time.time() + USUAL_WAIT_S
        return WaitError(f"The venue asks us to wait ({text}).", until, sent=True)
    if code and code not in UNKNOWN_CODES:
        return RefusedError(f"The venue refused ({text}).", code)
    # Without a code it is ccxt that refused, before anything was sent; but an answer that could
    # not be read, such as half a body, proves nothing.
    unread = isinstance(error, ccxt.BadResponse | ccxt.NullResponse)
    if code or unread or type(error) is ccxt.ExchangeError:
        return UnknownOutcomeError(f"The outcome is unknown ({text}).")
    if isinstance(error, ccxt.ExchangeError):
        return RefusedError(f"It cannot be sent ({text}).")
    return UnknownOutcomeError(f"The outcome is unknown ({text}).")
