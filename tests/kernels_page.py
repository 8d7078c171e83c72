"""Writes docs/kernels.md from the registry, the timetable, the topics, the source and the tests.

`python -m tests.kernels_page` boots a fresh state folder and writes the page; what it says of the
kernels, of who uses them and of the honesty matrix is held to the source by
`tests/component/test_kernels_page.py`, and only the boot report is as of the last writing.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from inspect import getdoc
from pathlib import Path
from typing import Any

import beat_schedule
from homeostat import registry
from homeostat.component import Component
from homeostat.kernels.message_bus import topics
from homeostat.kernels.trigger_mesh import rules
from tests.component.test_honesty import KERNELS, KINDS, variants_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "kernels.md"
#: The boot report stands between these: measured when the page was written.
MEASURED = ("<!-- measured: begin -->", "<!-- measured: end -->")
#: Shows every event but the bus's own (`MessageBus.happened`).
HEARS_ALL = "homeostat/api/live.py"
#: Users that meet a kernel through the rows it writes: kernel → the file, and the words in it.
THROUGH_THE_STORE = {
    "kernels.learning_integration": (("homeostat/repair/choice.py", "lessons.distrusted"),),
}


def page(boot: str) -> str:
    """Return the whole page around that boot report."""
    parts = [_head(), _table(), "## One by one\n", *map(_section, _ordered()), _honesty()]
    measured = f"{MEASURED[0]}\n{boot}\n{MEASURED[1]}\n"
    return "\n".join([*parts, "## The boot report\n", measured])


def without_boot(text: str) -> str:
    """Return a page without what was measured."""
    before, _, rest = text.partition(MEASURED[0])
    return before + rest.partition(MEASURED[1])[2]


def _ordered() -> list[type[Component]]:
    kernels = [registry.load(name) for name in KERNELS]
    return sorted(kernels, key=lambda kernel: (kernel.spec.tier, kernel.spec.name))


def _head() -> str:
    return (
        "# The twenty kernels\n\n"
        "Written by `python -m tests.kernels_page` from the registry, the timetable, the topics "
        "and the tests; a test fails where this page and the source differ.\n"
    )


def _table() -> str:
    rows = ["| tier | kernel | needs | every | its one job |", "|---|---|---|---|---|"]
    every = {entry.name: entry.interval_s for entry in beat_schedule.ENTRIES}
    for kernel in _ordered():
        spec = kernel.spec
        needs = ", ".join(need.removeprefix("kernels.") for need in spec.needs) or "–"
        rows.append(
            f"| {spec.tier} | `{spec.name}` | {needs} | {every[spec.full_name]:g} s "
            f"| {spec.summary} |"
        )
    return "\n".join([*rows, ""])


def _section(kernel: type[Component]) -> str:
    name = kernel.spec.full_name
    lines = [f"### {name}\n", f"- Probe: {_sentence(kernel.probe)}"]
    lines.append(f"- Cycle: {_sentence(kernel.run)}")
    for topic, who in published(name).items():
        lines.append(f"- Publishes `{topic}`, taken up by {_listed(who)}.")
    lines.append(f"- Used by {_listed(users_of(name))}.\n")
    return "\n".join(lines)


def _sentence(verb: Any) -> str:
    return " ".join((getdoc(verb) or "").split("\n\n")[0].split())


def _listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "**nobody**"


def published(kernel: str) -> Mapping[str, set[str]]:
    """Return topic → who takes it up, of the topics that the kernel may publish and does."""
    mine = {
        name
        for name, topic in topics.declared().items()
        if any(fnmatchcase(kernel, one) for one in topic.publishers)
    }
    said = {text for path, text in _texts() if _owner(path) == kernel}
    return {topic: consumers_of(topic) for topic in sorted(mine & said)}


def consumers_of(topic: str) -> set[str]:
    """Return who subscribes to the topic: by a rule of the trigger mesh, or by its name."""
    found = {"kernels.trigger_mesh"} if any(r.event == topic for r in rules.load()) else set()
    if not topic.startswith("bus."):
        found.add(HEARS_ALL)
    publishers = topics.declared()[topic].publishers
    for path, text in _texts():
        owner = _owner(path) or path
        mine = any(fnmatchcase(owner, one) for one in publishers)
        if text == topic and not mine and not path.endswith("topics.py"):
            found.add(owner)
    return found


def users_of(kernel: str) -> set[str]:
    """Return who has the kernel's work done: asks for it by name, imports it, takes its events."""
    found = _askers()[kernel] | set().union(*published(kernel).values(), set())
    for path, words in THROUGH_THE_STORE.get(kernel, ()):
        if words in (ROOT / path).read_text("utf-8"):
            found.add(path)
    return found - {kernel}


@lru_cache(maxsize=1)
def _askers() -> Mapping[str, set[str]]:
    asked: dict[str, set[str]] = defaultdict(set)
    for path, tree in _trees():
        for node in ast.walk(tree):
            for kernel in _asked(node):
                asked[kernel].add(_owner(path) or path)
    return asked


def _asked(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and node.args:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        wanted = node.args[0]
        if name in {"need", "find"} and isinstance(wanted, ast.Constant):
            yield str(wanted.value)
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("homeostat.kernels."):
        yield ".".join(str(node.module).split(".")[1:3])


@lru_cache(maxsize=1)
def _trees() -> list[tuple[str, ast.AST]]:
    return [
        (str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8")))
        for room in ("homeostat", "tasks", "workers")
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


@lru_cache(maxsize=1)
def _texts() -> list[tuple[str, str]]:
    return [
        (path, node.value)
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def _owner(path: str) -> str:
    """Return the kernel that a file belongs to, or an empty text."""
    parts = Path(path).with_suffix("").parts
    return f"kernels.{parts[2]}" if parts[:2] == ("homeostat", "kernels") else ""


def _honesty() -> str:
    rows = [
        "## The honesty matrix\n",
        (
            "Each kernel is broken on purpose in three ways, and none of them may come out as "
            "RUNNING; the kernel as it ships must (`pytest tests -k honesty`).\n"
        ),
        f"| kernel | {' | '.join(KINDS)} |",
        "|---|" + "---|" * len(KINDS),
    ]
    for kernel in _ordered():
        variants = variants_of(kernel.spec.full_name)
        cells = " | ".join(f"`{variants[kind].__name__}`" for kind in KINDS)
        rows.append(f"| `{kernel.spec.name}` | {cells} |")
    return "\n".join([*rows, ""])


def booted() -> str:
    """Boot a fresh state folder in a process of its own, and return the report as a table."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "homeostat.cli", "boot", "--json"],
            env={**os.environ, "HOMEOSTAT_STATE_DIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
    if not done.stdout:
        raise SystemExit(done.stderr or "the boot printed nothing")
    return boot_table(json.loads(done.stdout))


def boot_table(report: Mapping[str, Any]) -> str:
    """Return a boot report as Markdown: per kernel tier, state, seconds, tries and evidence."""
    tiers = {row["tier"]: row for row in report["tiers"]}
    lines = [
        (
            f"{report['running']} of {report['total']} RUNNING in {report['seconds']:.2f} s, "
            f"tier 0 in {tiers[0]['seconds']:.2f} s (a cold process on a fresh state folder).\n"
        ),
        "| tier | kernel | state | seconds | tries | evidence |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["components"]:
        said = (row["evidence"] or {}).get("claim") or row["error"]
        lines.append(
            f"| {row['tier']} | `{row['name'].removeprefix('kernels.')}` | {row['state']} "
            f"| {row['seconds']:.2f} | {row['tries']} | {said} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(booted()), "utf-8")
