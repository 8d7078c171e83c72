"""Finds components: those that ship, by the file's name, and plugins, by entry point.

A module is imported only when its component is asked for, and a broken one is a value here
(`LoadFailure`), never a crash: a worker with one broken component runs all the others.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from homeostat.component import Component, ComponentSpec, Context, Wing
from homeostat.errors import ComponentLoadError, UnknownComponentError
from homeostat.settings import settings

#: Plugins name their component class under this entry point group.
ENTRY_POINTS = "homeostat.components"
#: Rooms of the wings that hold no component of their own.
NOT_COMPONENTS = frozenset(
    {
        "authority",
        "backtest",
        "barrier_outcomes",
        "feed",
        "flow",
        "health",
        "market",
        "models",
        "predicting",
        "replay",
        "signals",
        "venue",
    }
)

_HOUSE = Path(__file__).parent


@dataclass(frozen=True)
class LoadFailure:
    """A component that could not be loaded, and why."""

    name: str
    error: BaseException


@lru_cache(maxsize=1)
def built_in_names() -> tuple[str, ...]:
    """Return the full names of the components that ship, from the file names, sorted."""
    names: list[str] = []
    for wing in (Wing.KERNELS, Wing.TRADING):
        names += [
            f"{wing}.{module.name}"
            for module in pkgutil.iter_modules([str(_HOUSE / wing)])
            if module.name not in NOT_COMPONENTS and not module.name.startswith("_")
        ]
    return tuple(sorted(names))


@lru_cache(maxsize=1)
def _plugins() -> dict[str, EntryPoint]:
    return {f"plugins.{point.name}": point for point in entry_points(group=ENTRY_POINTS)}


def names() -> list[str]:
    """Return the full names of all components, shipped and plugged in."""
    return [*built_in_names(), *sorted(_plugins())]


def plugins_in(folder: Path) -> list[str]:
    """Return the full names of the plugins whose module lies in a folder, sorted."""
    return [name for name, point in sorted(_plugins().items()) if _lies_in(point.module, folder)]


def _lies_in(module: str, folder: Path) -> bool:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        # A package around it cannot be imported, so nothing of it can be asked.
        return False
    origin = found.origin if found else None
    return origin is not None and Path(origin).resolve().is_relative_to(folder.resolve())


def load(name: str) -> type[Component]:
    """Return the component class of that full name.

    Raises UnknownComponentError where nobody declares it. Where its module cannot be imported,
    the import's own exception is raised, because its frames name the cause; where the module
    holds no class that fits, ComponentLoadError.
    """
    if name in _plugins():
        found = _plugins()[name].load()
    elif name in built_in_names():
        found = _class_in(f"homeostat.{name}")
    else:
        raise UnknownComponentError(
            f"No component is named {name!r}; `homeostat component list` shows the names."
        )
    if not (inspect.isclass(found) and issubclass(found, Component)):
        raise ComponentLoadError(f"{name} names {found!r}, which is not a Component class.")
    spec = getattr(found, "spec", None)
    if not isinstance(spec, ComponentSpec) or spec.full_name != name:
        raise ComponentLoadError(f"{name}: the class {found.__name__} has no spec of that name.")
    return found


def _class_in(module_name: str) -> type[Component]:
    module = importlib.import_module(module_name)
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Component)
        and value.__module__.startswith(module_name)
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        raise ComponentLoadError(
            f"{module_name} must define one component class, and defines {len(classes)}."
        )
    return classes[0]


def load_all() -> Iterator[tuple[str, type[Component] | LoadFailure]]:
    """Yield each component's name with its class, or with why it could not be loaded."""
    for name in names():
        try:
            yield name, load(name)
        except Exception as error:  # noqa: BLE001  # a plugin may raise anything at import
            yield name, LoadFailure(name, error)


def specs() -> dict[str, ComponentSpec]:
    """Return the specs of all components that can be loaded, by full name."""
    return {name: found.spec for name, found in load_all() if not isinstance(found, LoadFailure)}


@lru_cache(maxsize=64)
def find(name: str) -> Component:
    """Return this process's instance of the component, made at first use."""
    return load(name)(Context(settings=settings(), find=find))
