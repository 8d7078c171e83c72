"""`make bench`: every benchmark, one after the other, each at a size that a laptop bears.

`python -m benchmarks --write` also writes docs/benchmarks.md: the machine, how busy it was before
each one, and what each one printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

RUNS: tuple[tuple[str, ...], ...] = (
    ("beat", "--entries", "1000", "--seconds", "20"),
    ("check_cost",),
    ("ledger", "--fault", "kill_child", "--tasks", "400"),
    ("grouping",),
    ("incident_race", "--processes", "8", "--failures", "1000"),
    ("incident_list",),
    ("bundle", "--rounds", "300"),
    ("boot",),
    ("repair_index",),
    ("immutable_log",),
    ("trading",),
)
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


class Outcome(NamedTuple):
    """One benchmark's command, its printed figures, and how it went."""

    command: str
    printed: str
    code: int
    load_before: float
    seconds: float


def run(name: str, *arguments: str) -> Outcome:
    """Run one benchmark, print what it prints, and return it."""
    command = " ".join(("python -m", f"benchmarks.{name}", *arguments))
    print(f"\n== {command}", flush=True)
    load, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    print(done.stdout, end="", flush=True)
    # A module that measures nothing must not count as a benchmark that ran.
    code = done.returncode or int(not done.stdout.strip())
    return Outcome(command, done.stdout.rstrip(), code, load, time.monotonic() - began)


HEAD = """# Benchmarks

Written by `python -m benchmarks --write` on {machine}, {day}.
Read ratios and counts; times are this machine's. The load is that of the minute before a command,
in which the benchmark before it counts. The coding agent has [its own page](repair-benchmark.md),
the ten-minute run [its report](reports/stress-10min/report.md).
"""
ONE = """
```console
$ {command}
{printed}
```

Exit code {code}, {seconds:.0f} s, load before {load_before:.1f}.
"""


def page(outcomes: list[Outcome]) -> str:
    """Return the page: the machine, then each command with what it printed."""
    machine = f"{os.cpu_count()} cores with Python {platform.python_version()}"
    head = HEAD.format(machine=machine, day=f"{datetime.now(UTC):%Y-%m-%d}")
    return head + "".join(ONE.format(**one._asdict()) for one in outcomes)


def main() -> int:
    """Run them all, and return 1 where one failed."""
    parser = argparse.ArgumentParser(description="Run every benchmark.")
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name} as well")
    asked = parser.parse_args()
    outcomes = [run(*one) for one in RUNS]
    if asked.write:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    failed = [one.command for one in outcomes if one.code]
    print(f"\n{len(RUNS) - len(failed)} of {len(RUNS)} ran; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
