"""Every model, imported once so that the metadata is whole, and the session that coroutines use."""

from __future__ import annotations

import importlib
import pkgutil

import homeostat.store
from homeostat.store.base import Base
from homeostat.store.database import async_session

for _module in pkgutil.iter_modules(homeostat.store.__path__, "homeostat.store."):
    if _module.name != "homeostat.store.migrations":
        importlib.import_module(_module.name)

__all__ = ["Base", "async_session"]
