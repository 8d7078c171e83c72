"""Who may come in: a bearer token for programs, a signed cookie for browsers.

The cookie is no secret of its own: it is the time of its making under an HMAC keyed with the
token, so a new token ends every browser's session.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from fastapi import HTTPException, Request, status
from fastapi.security import HTTPBearer

from homeostat.settings import settings
from homeostat.supervision import api_access

COOKIE = "homeostat_session"
#: A browser's session ends after this many seconds (12 hours: a working day and its evening).
SESSION_S = 12 * 3600

#: Declared for OpenAPI; `require` itself looks at the header.
BEARER = HTTPBearer(auto_error=False, description="The token in the state folder's `api.token`.")


class LoginNeededError(Exception):
    """A page was asked for without a session: the browser is sent to the login page."""


def token_fits(given: str) -> bool:
    """Return whether it is the token, in constant time."""
    return same(given, api_access.token(settings()))


def same(given: str, expected: str) -> bool:
    """Compare two texts in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _seal(purpose: str, text: str) -> str:
    key = api_access.token(settings()).encode()
    return hmac.new(key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def new_session() -> str:
    """Return the cookie of a browser that gave the token."""
    made = str(int(time.time()))
    return f"{made}.{_seal('session', made)}"


def session_holds(cookie: str | None) -> bool:
    """Return whether the cookie is one of ours and not too old."""
    made, _, seal = (cookie or "").partition(".")
    if not made.isdecimal() or not same(seal, _seal("session", made)):
        return False
    return 0 <= time.time() - int(made) <= SESSION_S


def form_key(request: Request) -> str:
    """Return what every form of this session must carry, so that no other site can post one."""
    return _seal("form", request.cookies.get(COOKIE, ""))


def require(request: Request) -> None:
    """Let a program or a browser in; raises 401 for all others."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token_fits(given.strip()):
        return
    if request.method == "GET" and session_holds(request.cookies.get(COOKIE)):
        return
    raise HTTPException(
        status.HTTP_401_UNAUTHORIZED,
        "Give the token from the state folder's api.token as `Authorization: Bearer …`.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def require_browser(request: Request) -> None:
    """Let a browser with a session in; raises LoginNeededError for all others."""
    if not session_holds(request.cookies.get(COOKIE)):
        raise LoginNeededError
