"""Where a frame comes from: its dotted module name, and whether it is the application's own code.

Nothing here may depend on where the code happens to be installed, because the signature of a
failure has to be the same on every machine: a path only ever yields the part of it below its root.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

#: A process has so many source files; the frames of a long chain are of the same few.
REMEMBERED = 4_096

#: Top-level packages that are the application's own even where they are installed from a wheel.
OWN_PACKAGES = frozenset({"homeostat", "workers", "tasks"})

#: What carries the work but is not the work: its frames are alike for every component's failure.
HARNESS = (
    "workers", "tasks", "homeostat.supervision", "homeostat.cli", "homeostat.registry",
    "homeostat.component",
)  # fmt: skip
_HOUSE = Path(__file__).resolve().parents[2].as_posix() + "/"

_LIBRARY_ROOT = re.compile(
    r"^.*/(?:site-packages|dist-packages)/"
    r"|^.*/lib(?:64)?/python\d(?:\.\d+)?t?/|^.*/python\d+\.zip/",
    re.IGNORECASE,
)
#: Console scripts (`/venv/bin/celery`) start the application and are none of it.
_LAUNCHER = re.compile(r"^.*/(?:bin|sbin|Scripts)/(?=[^/]+$)", re.IGNORECASE)
_WINDOWS_STDLIB = re.compile(r"^[a-z]:/.*/lib/(?=[a-z_])", re.IGNORECASE)
_STDLIB = sysconfig.get_path("stdlib").replace("\\", "/").rstrip("/") + "/"


def posix(path: str) -> str:
    """Return `path` with forward slashes, so that Windows tracebacks read like all others."""
    return path.replace("\\", "/")


def is_generated(path: str) -> bool:
    """Tell whether the code has no file: `<string>`, `<frozen importlib>`, `<attrs …>`."""
    return path.startswith("<") or not path


@lru_cache(maxsize=REMEMBERED)
def below_library_root(path: str) -> str | None:
    """Return what follows the library's root (`celery/app/trace.py`), or None for other code."""
    path = posix(path)
    if path.startswith(_STDLIB) and "/site-packages/" not in path:
        return path[len(_STDLIB) :]
    match = _LIBRARY_ROOT.match(path) or _WINDOWS_STDLIB.match(path) or _LAUNCHER.match(path)
    return path[match.end() :] if match else None


@lru_cache(maxsize=REMEMBERED)
def dotted(relative: str) -> str:
    """Turn a path below a root into a module name: `shop/models/__init__.py` → `shop.models`."""
    parts = list(PurePosixPath(relative).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def is_application(path: str, module: str, app_packages: Collection[str] = ()) -> bool:
    """Tell whether a frame is the application's own code.

    Libraries and the standard library are told by their folders; a package in `app_packages` (or
    one of this project's own) is the application's wherever it is installed.
    """
    if is_generated(path):
        return False
    below = below_library_root(path)
    if below is None:
        return True
    top = below.split("/", 1)[0].removesuffix(".py")
    names = {top, module.split(".", 1)[0]}
    return not names.isdisjoint(OWN_PACKAGES) or not names.isdisjoint(app_packages)


@lru_cache(maxsize=REMEMBERED)
def is_harness(path: str, module: str) -> bool:
    """Tell whether a frame is this project's own machinery around a component's work.

    The path is looked at too, because an application of the user's may well have its `tasks`.
    """
    ours = posix(path).startswith(_HOUSE)
    return ours and any(module == name or module.startswith(f"{name}.") for name in HARNESS)


def modules_below_common_root(paths: Sequence[str]) -> dict[str, str]:
    """Name the modules of application files that are known by path alone.

    The root is the deepest folder that holds them all (or all below one top-level folder, where
    the code lies in several), so a moved checkout changes nothing: the answer depends on the
    paths' differences only, never on this machine's disk.
    """
    files = {path: PurePosixPath(posix(path)) for path in paths}
    folders: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for file in files.values():
        folders.setdefault(file.parts[:2], []).append(file.parent.parts)
    roots = {top: common_root(below) for top, below in folders.items()}
    return {
        path: dotted(str(PurePosixPath(*file.parts[len(roots[file.parts[:2]]) :])))
        for path, file in files.items()
    }


def common_root(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the leading parts that all the folders share."""
    shared: list[str] = []
    for level in zip(*folders, strict=False):
        if len(set(level)) != 1:
            break
        shared.append(level[0])
    return tuple(shared)
