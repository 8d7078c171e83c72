"""What the strategies for installed packages share: whose a module is, and an adapted caller."""

from __future__ import annotations

from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, DefectClass, Origin, Side
from homeostat.repair.codemods.functions import parses

WHY = "what adapts to an installed package is a person's choice"


def foreign(case: Case, dotted: str) -> bool:
    """Whether a module is none of the repository's."""
    top = dotted.split(".", maxsplit=1)[0]
    # A package that has lost its modules, or its `__init__.py`, still has its folder.
    folders = {top, f"src/{top}", f"lib/{top}"}
    return (
        bool(top)
        and not any(name == top or name.startswith(top + ".") for name in case.index.modules)
        and not folders & (case.tree.folders | case.tree.bare_folders)
    )


def adapted(
    strategy: str, path: str, text: str, title: str, score: float, origin: Origin = Origin.CODEMOD
) -> Iterator[Candidate]:
    """Yield the candidate that gives a calling file a new text, where that parses."""
    if parses(text):
        yield Candidate(
            strategy=strategy,
            defect=DefectClass.DEPENDENCY_DRIFT,
            title=title,
            changes={path: text},
            origin=origin,
            side=Side.CALLER,
            score=score,
            waits_because=WHY,
            parameters={"path": path, "side": "caller"},
            atomic=True,
        )
