"""The refactor system: what was mended the same way several times is proposed wherever it stands.

A pattern is what three or more proven fixes, of different failures, replaced by the same other
thing: a line, or a run of whole statements. It is planned over a copy of the tree, verified in the
sandbox, and published as an approval with its diff; nothing is applied by itself. Where
verification fails, or its tool is missing, nothing is published and the pattern's failure is
remembered. At the start there are no patterns, and `survey` says so.
"""

from __future__ import annotations

import difflib
import hashlib
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.repair.codemods.blocks import is_block, replace_block
from homeostat.repair.sandbox import Sandbox
from homeostat.repair.tree import Tree
from homeostat.store import approvals, track_records
from homeostat.store.approvals import Approval
from homeostat.store.repair import KnownFix
from homeostat.store.track_records import TrackRecord

#: Proven fixes of different failures that make a pattern.
PROVEN = 3
#: What is shorter (`pass`, `else:`) says nothing about what was wrong with it.
SHORTEST_LINE = 8
ACTION = "refactor.apply"
ACTOR = "repair.refactor"
_VALID_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Pattern:
    """A line or a run of statements, without its indentation, and what it became.

    `fixes` are the ids of the known fixes that prove it.
    """

    was: str
    becomes: str
    fixes: tuple[str, ...]

    @property
    def is_line(self) -> bool:
        """Whether one line became one other."""
        return "\n" not in self.was + self.becomes

    @property
    def key(self) -> str:
        """The same for the same change, wherever it was learnt."""
        return hashlib.sha256(f"{self.was}\0{self.becomes}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Proposal:
    """A pattern applied to a tree: the changed files, and whether they held their proof."""

    pattern: Pattern
    changes: dict[str, str]
    diff: str
    verified: bool
    reason: str


def patterns(session: Session) -> list[Pattern]:
    """Return what was learnt: the patterns that enough fixes prove and none has failed since."""
    seen: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    proven = select(KnownFix).where(KnownFix.successes > 0, KnownFix.failures == 0)
    for fix in session.scalars(proven.order_by(KnownFix.id)):
        for pair in _replaced(fix.diff):
            # One failure mended twice is one proof.
            seen[pair].setdefault(fix.replay_key, fix.id)
    found = [
        Pattern(was, becomes, tuple(fixes.values()))
        for (was, becomes), fixes in seen.items()
        if len(fixes) >= PROVEN
    ]
    return [pattern for pattern in found if not _failed(session, pattern)]


def _replaced(diff: str) -> Iterator[tuple[str, str]]:
    """Yield what a diff replaces and by what: a line by one other, statements by statements."""
    removed: list[str] = []
    added: list[str] = []
    for line in [*diff.splitlines(), " end"]:
        if line.startswith("-") and not line.startswith("---"):
            removed.append(line[1:])
        elif line.startswith("+") and not line.startswith("+++"):
            added.append(line[1:])
        else:
            if removed and added and (pair := _pair(removed, added)):
                yield pair
            removed, added = [], []


def _pair(removed: list[str], added: list[str]) -> tuple[str, str] | None:
    """Return both without the indentation that they share; None where it says too little."""
    whole = textwrap.dedent("\n".join([*removed, *added])).splitlines()
    was, becomes = "\n".join(whole[: len(removed)]), "\n".join(whole[len(removed) :])
    if len(removed) == len(added) == 1:
        was, becomes = was.strip(), becomes.strip()
    elif not (is_block(was) and is_block(becomes)):
        return None
    return (was, becomes) if len(was) >= SHORTEST_LINE else None


def _failed(session: Session, pattern: Pattern) -> bool:
    record = session.get(TrackRecord, (ACTION, pattern.key))
    return record is not None and record.failures > 0 and record.in_row == 0


def survey(session: Session) -> dict[str, JsonValue]:
    """Return how many patterns there are, in words too; none is said as loudly as many."""
    found = patterns(session)
    words = f"{len(found)} patterns" if found else "0 patterns: nothing was mended alike 3 times"
    return {"patterns": len(found), "said": words, "lines": [pattern.was for pattern in found]}


def plan(pattern: Pattern, tree: Tree) -> dict[str, str]:
    """Return path → new text for every Python file in which the pattern stands."""
    changes = {}
    for path in tree.python_files:
        text = tree.read(path)
        if text is None:
            continue
        if pattern.is_line:
            lines = text.splitlines(keepends=True) if pattern.was in text else [text]
            changed = "".join(_changed(line, pattern) for line in lines)
        else:
            changed = replace_block(text, pattern.was, pattern.becomes)
        if changed != text:
            changes[path] = changed
    return changes


def _changed(line: str, pattern: Pattern) -> str:
    if line.strip() != pattern.was:
        return line
    indentation = line[: len(line) - len(line.lstrip())]
    ending = line[len(line.rstrip("\r\n")) :]
    return f"{indentation}{pattern.becomes}{ending}"


def prove(pattern: Pattern, tree: Tree, sandbox: Sandbox, command: Sequence[str]) -> Proposal:
    """Apply the pattern to a private copy and run `command` there, before and after.

    Verified only where it passed both times: what failed before proves nothing, what fails
    after is left as it was. A tool that is missing fails like any other command.
    """
    changes = plan(pattern, tree)
    diff = _diff(tree, changes)
    if not changes:
        return Proposal(pattern, {}, "", False, "the pattern stands nowhere in this tree")
    before = sandbox.run(command)
    if not before.passed:
        return Proposal(pattern, {}, diff, False, f"it failed before: {before.output[-300:]}")
    after = sandbox.run(command, changes=changes)
    if not after.passed:
        return Proposal(pattern, {}, diff, False, f"it fails after: {after.output[-300:]}")
    return Proposal(pattern, changes, diff, True, "")


def _diff(tree: Tree, changes: dict[str, str]) -> str:
    parts: list[str] = []
    for path, text in sorted(changes.items()):
        old = (tree.read(path) or "").splitlines(keepends=True)
        new = text.splitlines(keepends=True)
        parts += difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    return "".join(parts)


def publish(session: Session, proposal: Proposal) -> Approval | None:
    """Ask a person for a verified proposal; remember the failure of one that was not."""
    key = proposal.pattern.key
    if not proposal.verified:
        if proposal.diff:
            track_records.note(session, ACTION, key, succeeded=False)
        return None
    return approvals.request(
        session,
        action=ACTION,
        subject=key,
        risk="medium",
        requested_by=ACTOR,
        plan=proposal.diff,
        valid_for=_VALID_FOR,
    )


def learn(session: Session, pattern: Pattern, *, held: bool) -> int:
    """Count how an applied proposal fared; return its successes in a row."""
    return track_records.note(session, ACTION, pattern.key, succeeded=held).in_row
