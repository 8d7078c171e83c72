"""How long the boot takes: whole processes, cold, each on a state folder of its own.

`python -m benchmarks.boot --json` → kernels running, seconds in all and of tier 0, and the wall
time of the command with its interpreter and imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def boot_once() -> dict[str, float]:
    """Run `homeostat boot --json` in a fresh folder and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "HOMEOSTAT_STATE_DIR": folder}
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "homeostat.cli", "boot", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        wall = time.perf_counter() - start
    if not done.stdout:
        raise SystemExit(done.stderr or "the boot printed nothing")
    report = json.loads(done.stdout)
    tiers = {tier["tier"]: tier["seconds"] for tier in report["tiers"]}
    return {
        "running": report["running"],
        "total": report["total"],
        "seconds": report["seconds"],
        "tier_0_seconds": tiers[0],
        "wall_seconds": wall,
    }


def main() -> None:
    """Boot several times and print the medians, with the slowest beside them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = [boot_once() for _ in range(options.repeats)]
    figures: dict[str, float] = {
        "repeats": options.repeats,
        "running": min(run["running"] for run in runs),
        "total": max(run["total"] for run in runs),
    }
    for name in ("seconds", "tier_0_seconds", "wall_seconds"):
        figures[name] = statistics.median(run[name] for run in runs)
        figures[f"{name}_worst"] = max(run[name] for run in runs)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:24} {value:.3f}")


if __name__ == "__main__":
    main()
