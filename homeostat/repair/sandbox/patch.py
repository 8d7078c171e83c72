"""A patch on its way into a sandbox: the changed files in a folder, and the paths to delete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def lay_patch(tree: Path, changes: Mapping[str, str | None], folder: Path) -> list[str]:
    """Write the changed files into the existing `folder`; return what is to be deleted of `tree`.

    The folders above are made passable, because the run's user is another.
    """
    for path, text in changes.items():
        if text is not None:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="")
    return [path for path, text in changes.items() if text is None and (tree / path).exists()]
