"""The application: JSON under `/api/v1`, pages beside it, metrics, and who may see them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware

from homeostat.api import json_api, metrics, pages
from homeostat.api.auth import LoginNeededError
from homeostat.errors import ActionRefusedError, HomeostatError, StoreUnavailableError
from homeostat.incidents.lifecycle import StepRefusedError, UnknownIncidentError
from homeostat.incidents.views import UnknownStateError
from homeostat.store.approvals import ApprovalError

STATIC = Path(__file__).parent / "static"
#: The API listens on loopback; another name in the Host header is a rebinding attack.
HOSTS = ["127.0.0.1", "localhost", "testserver"]
#: What the pages may load: this server's own files, nothing else.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATUS_OF: dict[type[HomeostatError], int] = {
    UnknownIncidentError: 404,
    UnknownStateError: 422,
    StepRefusedError: 409,
    ApprovalError: 409,
    ActionRefusedError: 403,
    StoreUnavailableError: 503,
}


def create_app() -> FastAPI:
    """Return the application; it opens no connection before the first request."""
    app = FastAPI(
        title="Homeostat",
        description="State with its evidence, incidents, approvals, audit log, reports.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.include_router(json_api.router)
    app.include_router(metrics.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    app.middleware("http")(_with_security_headers)
    app.exception_handler(LoginNeededError)(_to_login)
    app.exception_handler(HomeostatError)(_in_words)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_malformed)
    return app


async def _with_security_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _to_login(request: Request, error: Exception) -> Response:
    del request, error
    return RedirectResponse("/login", status_code=303)


async def _refused(request: Request, error: Exception) -> Response:
    """Answer a page that is not there, or not so, with a page; a program with JSON."""
    if not isinstance(error, HTTPException) or not _by_browser(request):
        return await http_exception_handler(request, error)  # type: ignore[arg-type]  # one of them
    words = error.detail
    if error.status_code == 404:
        words = f"There is no page at {request.url.path}; begin at the status."
    return pages.error_page(request, words, error.status_code)


async def _malformed(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError) or not _by_browser(request):
        return await request_validation_exception_handler(request, error)  # type: ignore[arg-type]  # as above
    first = error.errors()[0]
    words = f"{first['loc'][-1]} cannot be {first['input']!r}: {first['msg']}."
    return pages.error_page(request, words, 422)


def _by_browser(request: Request) -> bool:
    return not request.url.path.startswith(("/api/", "/static/", "/metrics"))


async def _in_words(request: Request, error: Exception) -> Response:
    found = next((code for kind, code in _STATUS_OF.items() if isinstance(error, kind)), 500)
    if not _by_browser(request):
        return JSONResponse({"detail": str(error)}, status_code=found)
    return pages.error_page(request, str(error), found)
