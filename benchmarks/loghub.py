"""Reading of LogHub-2k: labelled log messages, one CSV file per system.

The sets come as `X/X_2k.log_structured.csv` (columns Content, EventId, EventTemplate, …) and, with
labels that others have corrected, as `X/X_2k.log_structured_corrected.csv`. Both are found at any
depth below the folder.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

#: A message and the name of its true template.
Labelled = tuple[str, str]
_NAME = re.compile(r"(.+)_2k\.log_structured(_corrected)?\.csv\Z")


def read_loghub(folder: Path, *, corrected: bool = False) -> dict[str, list[Labelled]]:
    """Read the labelled logs below `folder`, by system.

    Of a system with both kinds of labels the original ones are taken, or with `corrected` the
    other ones; a system with one kind is taken as it is. Exits with one sentence where there is
    no such file, or one without the columns that are needed.
    """
    chosen: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.csv"), key=lambda path: (len(path.parts), path)):
        if found := _NAME.match(path.name):
            wanted = bool(found[2]) is corrected
            if found[1] not in chosen or (wanted and _is_corrected(chosen[found[1]]) != corrected):
                chosen[found[1]] = path
    if not chosen:
        sys.exit(f"{folder} holds no */X_2k.log_structured.csv; give the folder of LogHub-2k.")
    systems = {system: list(_rows(path)) for system, path in sorted(chosen.items())}
    if empty := [system for system, rows in systems.items() if not rows]:
        sys.exit(f"{chosen[empty[0]]} holds no message; give the whole of LogHub-2k.")
    return systems


def _is_corrected(path: Path) -> bool:
    return path.name.endswith("_corrected.csv")


def _rows(path: Path) -> Iterator[Labelled]:
    """Yield the rows of one file, which may begin with a byte order mark.

    Corrected templates kept their old EventIds, so their label is the template itself.
    """
    labels = ("EventTemplate", "EventId") if _is_corrected(path) else ("EventId", "EventTemplate")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or ()
        label = next((name for name in labels if name in columns), None)
        if label is None or "Content" not in columns:
            sys.exit(f"{path} has no columns Content and EventId; give the structured logs.")
        for row in rows:
            if row["Content"] is not None and row[label] is not None:
                yield row["Content"], row[label]
