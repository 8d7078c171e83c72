"""What failed: the exception chain with its frames, from the sandbox's records or from text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeostat.repair.sandbox import Run

#: What a program says that could not begin, such as pytest of an option that it does not know.
_COMPLAINT = re.compile(r"(?i)\berror: |not found|no such file")


@dataclass(frozen=True)
class Frame:
    """One frame; `path` is relative to the repository, None where the file lies outside it."""

    file: str
    path: str | None
    line: int
    function: str
    code: str = ""
    module: str = ""


@dataclass(frozen=True)
class Place:
    """Where a definition stands, as the running program reported it."""

    kind: str
    qualname: str
    module: str
    path: str | None
    file: str | None
    line: int | None = None
    bases: tuple[Place, ...] = ()

    @property
    def inside(self) -> bool:
        """Whether it belongs to the repository and so may be mended."""
        return self.path is not None


@dataclass(frozen=True)
class Fault:
    """One exception of the chain, and what the interpreter knew about it."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    name: str | None = None
    callee: Place | None = None
    owner: Place | None = None
    import_path: str | None = None

    @property
    def headline(self) -> str:
        """Type and first line of the message, for records."""
        lines = self.message.splitlines()
        return f"{self.type}: {lines[0][:300]}" if lines else self.type

    @property
    def own_frames(self) -> tuple[Frame, ...]:
        """The frames inside the repository, outermost first."""
        return tuple(frame for frame in self.frames if frame.path is not None)


@dataclass(frozen=True)
class Failure:
    """A failed run: its exceptions, innermost cause first, and the tests that failed."""

    faults: tuple[Fault, ...]
    output: str
    returncode: int
    failed: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    collected: tuple[str, ...] = ()
    stopped: str | None = None
    ended_early: bool = False
    """Whether the run left tests out because one that went first had failed."""
    blamed: Mapping[str, str] = field(default_factory=dict)
    """Test, or file that could not be collected → the headline of what it failed by first."""

    @property
    def headline(self) -> str:
        """The innermost exception in one line, or how it ended without one, for records."""
        if not self.faults:
            return self._end
        return self.faults[0].headline

    @property
    def _end(self) -> str:
        """How a run without an exception ended, with what it last said of an error."""
        if self.stopped:
            return f"ended by its {self.stopped}"
        said = [line.strip() for line in self.output.splitlines() if _COMPLAINT.search(line)]
        told = f": {said[-1][:200]}" if said else ""
        return f"exit status {self.returncode} without an exception{told}"


def failure_of(run: Run, repository: Path) -> Failure:
    """Read a run's records, and its text where the recorder could not speak."""
    faults: list[Fault] = []
    outcomes: dict[str, str] = {}
    collected: list[str] = []
    early = False
    blamed: dict[str, str] = {}
    for record in run.records:
        if record["kind"] == "failure":
            chain = [_fault(item, repository) for item in reversed(record["chain"])]
            faults += chain
            if chain:
                blamed.setdefault(record["nodeid"], chain[0].headline)
        elif record["kind"] == "outcome":
            outcomes[record["nodeid"]] = _worse(outcomes.get(record["nodeid"]), record["outcome"])
        elif record["kind"] == "collected":
            collected = list(record["ids"])
        elif record["kind"] == "ended_early":
            early = True
    if not faults and run.returncode != 0:
        faults = list(parse_text(run.output, repository))
    bad = {"failed", "error", "xpassed-strict"}
    return Failure(
        tuple(faults),
        run.output,
        run.returncode,
        tuple(node for node, outcome in outcomes.items() if outcome in bad),
        tuple(node for node, outcome in outcomes.items() if outcome == "passed"),
        tuple(collected),
        run.stopped,
        early,
        blamed,
    )


def _worse(before: str | None, now: str) -> str:
    return before if before in {"failed", "error"} else now


def relative(file: str | None, repository: Path) -> str | None:
    """Return `file` relative to the repository, None where it lies outside or is no source.

    Environments kept inside the repository count as outside: nobody mends those.
    """
    if not file or not file.endswith((".py", ".pyi")):
        return None
    path = Path(file)
    if not path.is_absolute():
        return file if ".." not in path.parts else None
    if not path.is_relative_to(repository):
        return None
    inside = path.relative_to(repository)
    if "site-packages" in inside.parts or "dist-packages" in inside.parts:
        return None
    return inside.as_posix()


def _place(record: Mapping[str, Any] | None, repository: Path) -> Place | None:
    if record is None:
        return None
    file = record.get("file")
    return Place(
        record.get("kind", "class"),
        record.get("qualname") or "",
        record.get("module") or "",
        relative(file, repository),
        file,
        record.get("line"),
        tuple(
            place
            for base in record.get("mro", ())
            if (place := _place(base, repository)) is not None
        ),
    )


def _fault(record: Mapping[str, Any], repository: Path) -> Fault:
    frames = tuple(
        Frame(
            item["file"],
            relative(item["file"], repository),
            item["line"],
            item["function"],
            item["code"],
            item["module"],
        )
        for item in record["frames"]
    )
    return Fault(
        record["type"],
        record["message"],
        frames,
        record.get("name") or record.get("import_name"),
        _place(record.get("callee"), repository),
        _place(record.get("owner"), repository),
        record.get("import_path"),
    )


_PYTHON_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_PYTEST_FRAME = re.compile(
    r"^(?P<file>[\w./\\+-]+\.py):(?P<line>\d+): (?:in (?P<name>\S+)|\w*)\s*$"
)
_ERROR = re.compile(
    r"^(?:E\s+)?(?P<type>(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)): ?(?P<text>.*)$"
)
_BREAK = re.compile(r"^(During handling of|The above exception was|Traceback \(most recent)")


def parse_text(output: str, repository: Path) -> Iterable[Fault]:
    """Yield the exceptions of a traceback or of a pytest report, innermost cause first.

    Python prints a cause before what it caused, so the order of the text is the order wanted.
    """
    frames: list[Frame] = []
    pending_error: Fault | None = None
    for line in output.splitlines():
        if _BREAK.match(line) or line.startswith(("____", "====")):
            if pending_error is not None:
                yield pending_error
            frames, pending_error = [], None
            continue
        matched = _PYTHON_FRAME.match(line) or _PYTEST_FRAME.match(line)
        if matched:
            frames.append(_text_frame(matched, repository))
            if pending_error is not None and line.startswith(" ") is False:
                pending_error = _with_frames(pending_error, frames)
            continue
        error = _ERROR.match(line)
        if error and pending_error is None:
            kind = error["type"].rsplit(".", 1)[-1]
            pending_error = Fault(kind, error["text"], tuple(frames), _named(error["text"]))
    if pending_error is not None:
        yield pending_error


def _text_frame(matched: re.Match[str], repository: Path) -> Frame:
    file = matched["file"]
    return Frame(file, relative(file, repository), int(matched["line"]), matched["name"] or "")


def _with_frames(fault: Fault, frames: list[Frame]) -> Fault:
    return Fault(fault.type, fault.message, tuple(frames), fault.name)


def _named(text: str) -> str | None:
    found = re.search(r"(?:No module named|name|from) '([\w.]+)'", text)
    return found[1] if found else None
