"""The HTTP door: JSON API, server-rendered pages, live events and metrics."""

from homeostat.api.app import create_app

__all__ = ["create_app"]
