"""`make bench`: every benchmark, one after the other, each at a size that a laptop bears."""

from __future__ import annotations

import subprocess
import sys

RUNS: tuple[tuple[str, ...], ...] = (
    ("beat", "--entries", "1000", "--seconds", "20"),
    ("check_cost",),
    ("ledger", "--fault", "kill_child", "--tasks", "400"),
    ("grouping",),
    ("incident_race", "--processes", "8", "--failures", "200"),
    ("incident_list",),
    ("bundle", "--rounds", "100"),
    ("boot",),
    ("repair_index",),
    ("immutable_log",),
    ("trading",),
    ("stack",),
)


def main() -> int:
    """Run them all, and return 1 where one failed."""
    failed = []
    for name, *arguments in RUNS:
        print(f"\n== python -m benchmarks.{name} {' '.join(arguments)}", flush=True)
        if subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *arguments], check=False
        ).returncode:
            failed.append(name)
    print(f"\n{len(RUNS) - len(failed)} of {len(RUNS)} ran; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
