"""What was tried against the sandbox and against the proof, and what became of it, as a page.

    python -m benchmarks.adversary            # prints docs/adversary.md
    python -m benchmarks.adversary --write    # writes it; takes about a minute

The hostile programs run as the present user and, where that is root, as `nobody` too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from homeostat.repair.case import Candidate, DefectClass, Origin
from homeostat.repair.proof.refusals import refusal
from tests.component.repair.ordinary_user import ROOT, as_ordinary_user, missing
from tests.unit.repair.adversary import ATTACKS, BEFORE, FORBIDDEN

SUITE = "tests/component/repair/test_sandbox.py"
PAGE = ROOT / "docs" / "adversary.md"

HEAD = """# Tried and failed

Written by `python -m benchmarks.adversary --write`; a test holds the first table to the rules as
they are, and the second to the hostile programs that there are.

## Patches that make the command pass and are wrong

| the patch | refused, because |
| --- | --- |
"""
SANDBOX = """
## Programs in the sandbox

Each row is a test that would fail if the harm were done. As root the target still runs as an
ordinary user of its own, because a process limit does not bind root; bubblewrap sets the mounts up
as root and needs no user namespace. As a user everything is in a user namespace. A *new* sandbox is
started with its program, a *waiting* one before the program is there.

| what holds | root, new | root, waiting | `nobody`, new | `nobody`, waiting |
| --- | --- | --- | --- | --- |
"""
#: The ways in which the suite starts a sandbox, as its cases name them.
STARTS = ("new", "waiting")


def refused() -> Iterator[tuple[str, str]]:
    """Yield each attack of the adversary with the reason of its refusal."""
    for attack in ATTACKS:
        yield attack.name, _refusal("pkg/core.py", BEFORE, attack.after)
    for path, _ in FORBIDDEN:
        yield f"edits `{path}`", _refusal(path, "x = 2\n", "x = 1\n")


def _refusal(path: str, before: str, after: str) -> str:
    candidate = Candidate("adversary", DefectClass.UNKNOWN, "", {path: after}, origin=Origin.LLM)
    reason = refusal(candidate, {path: (before, after)}) or "NOT REFUSED"
    # What the parser adds is another sentence in each version of Python.
    return reason.partition(" does not parse")[0] + " does not parse" * ("not parse" in reason)


def _ran(*, as_user: bool) -> dict[tuple[str, str], str]:
    """Run the hostile programs; return what became of each, by sentence and start."""
    with tempfile.TemporaryDirectory(prefix="homeostat-adversary-") as name:
        folder = Path(name)
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SUITE]
        words += [f"--basetemp={folder}/tests", f"--junitxml={folder}/result.xml"]
        if as_user:
            as_ordinary_user(words, folder)
        else:
            subprocess.run(words, check=False, capture_output=True, cwd=ROOT, timeout=300)
        cases = ET.parse(folder / "result.xml").getroot().findall(".//testcase")  # noqa: S314 - pytest's own
    return {told(str(case.get("name"))): _result(case) for case in cases}


def _result(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "FAILED"
    return "not run" if case.find("skipped") is not None else "held"


def told(test: str) -> tuple[str, str]:
    """Return a test's name as a sentence, and how its sandbox was started."""
    name, _, parameters = test.removeprefix("test_").partition("[")
    listed = parameters.rstrip("]").split("-")
    start = next((one for one in listed if one in STARTS), "")
    others = [one for one in listed if one != start and one]
    words = name.replace("_", " ")
    return f"{words}: {others[0]}" if others else words, start


def refusals_table() -> str:
    """Return the rows of the first table."""
    return "".join(f"| {name} | {reason} |\n" for name, reason in refused())


def page() -> str:
    """Return the whole page; runs the hostile programs."""
    as_root = _ran(as_user=False)
    as_user = {} if missing() else _ran(as_user=True)
    rows = ""
    for sentence in dict.fromkeys(sentence for sentence, _ in as_root):
        results = [
            ran.get((sentence, start), "not run") for ran in (as_root, as_user) for start in STARTS
        ]
        rows += f"| {sentence} | {' | '.join(results)} |\n"
    return HEAD + refusals_table() + SANDBOX + rows


if __name__ == "__main__":
    written = page()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(written, encoding="utf-8")
    print(written)
