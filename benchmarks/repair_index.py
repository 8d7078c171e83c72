"""How long it takes to resolve a symbol in a repository of 500 files.

    python -m benchmarks.repair_index --json

The repository is generated: packages of modules with classes, functions, and calls across them.
First: a new process, nothing parsed. Warm: as in a worker that has looked at the same tree before.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from homeostat.repair.index import Index, parse_file
from homeostat.repair.tree import Tree

_FUNCTIONS = 12


def lay_out(folder: Path, files: int) -> None:
    """Write a repository of `files` modules in packages of 25."""
    for number in range(files):
        package = folder / f"package_{number // 25}"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
        other = (number * 7 + 3) % files
        lines = [f"from package_{other // 25}.module_{other} import function_{other}_0", ""]
        lines += [f"class Class_{number}:", "    def method(self, first, second=None):",
                  f"        return function_{other}_0(first, second=second)", ""]  # fmt: skip
        for at in range(_FUNCTIONS):
            lines += [f"def function_{number}_{at}(first, second=None, *, third=0):",
                      f'    """Do number {at}."""', "    if second is None:",
                      "        second = [first, third]",
                      f"    return Class_{number}().method(first, second=second)", ""]  # fmt: skip
        (package / f"module_{number}.py").write_text("\n".join(lines))


def resolve(index: Index, number: int) -> None:
    """Ask what a repair asks of one symbol: its definition, its calls and its imports."""
    name = f"function_{number}_0"
    (found,) = index.definitions(name)
    index.calls(name)
    index.importers(index.dotted(found.path))


def timed(tree: Tree, numbers: list[int]) -> list[float]:
    """Return the milliseconds of each look-up, in an index made anew each time."""
    found = []
    for number in numbers:
        start = time.perf_counter()
        resolve(Index(tree), number)
        found.append((time.perf_counter() - start) * 1000)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--lookups", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="repair-index-") as scratch:
        lay_out(Path(scratch), options.files)
        numbers = random.Random(1).sample(range(options.files), options.lookups)  # noqa: S311 - a repeatable choice
        parse_file.cache_clear()
        first = timed(Tree(Path(scratch)), numbers[:1])[0]
        tree = Tree(Path(scratch))
        timed(tree, numbers)
        warm = sorted(timed(tree, numbers))
    shown = {
        "files": options.files,
        "lookups": options.lookups,
        "first_ms": round(first, 1),
        "warm_p50_ms": round(warm[len(warm) // 2], 1),
        "warm_max_ms": round(warm[-1], 1),
    }
    print(json.dumps(shown, indent=2) if options.json else shown)


if __name__ == "__main__":
    main()
