"""Packages to mend: fetched by name with pip, unpacked, and their unbroken tests run once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from homeostat.repair.evidence import is_test
from homeostat.repair.failure import Failure
from homeostat.repair.proof.runs import Runner
from homeostat.repair.sandbox import Sandbox, find_interpreter
from homeostat.repair.tree import Tree

#: What the tests of pure packages commonly import; a missing one only costs cases.
_TEST_TOOLS = ("pytest", "hypothesis", "pretend", "freezegun", "pytest-mock", "pytest-subtests",
               "pytest-asyncio", "pytest-benchmark", "pytest-timeout", "pytest-cov", "pytest-xdist",
               "attrs", "pytz", "trio", "tomli_w", "flit_core",
               "setuptools", "sortedcontainers", "typing_extensions", "markupsafe")  # fmt: skip
#: The plugin of asyncio warns where its scope is not set, and many a package makes that an error.
PYTEST = "-m pytest -o asyncio_default_fixture_loop_scope=function"
#: Modules that the tools above import themselves; they stay, and the source goes before them.
_TOOLS_NEED = frozenset({
    "packaging", "pluggy", "iniconfig", "sortedcontainers", "attr", "attrs", "typing_extensions",
    "pygments", "idna", "sniffio", "outcome", "six", "dateutil",
})  # fmt: skip
_LONGEST_SUITE_S = 150.0


@dataclass(frozen=True)
class Package:
    """An unpacked package: its folder, its Python, and the tests that pass unbroken."""

    name: str
    tree: Tree
    python: Path
    source: str
    good: Failure
    runner: Runner


def run(*words: str, cwd: Path | None = None) -> bool:
    """Run a command quietly and return whether it succeeded."""
    done = subprocess.run(words, check=False, capture_output=True, cwd=cwd, timeout=600)
    return done.returncode == 0


def make_python(folder: Path) -> Path:
    """Make one environment for all packages."""
    python = folder / "env" / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", str(folder / "env"))
        for tool in _TEST_TOOLS:
            run(str(python), "-m", "pip", "install", "-q", tool)
    return python


def fetch(name: str, folder: Path, python: Path) -> Package | None:
    """Download, unpack, and run the unbroken suite once; None where that cannot be done."""
    where = folder / "sources" / name
    if not where.exists():
        where.mkdir(parents=True)
        if not run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary",
                    name, "-d", str(where), name):  # fmt: skip
            return None
        archive = next(where.glob("*.tar.gz"), None)
        if archive is None or not run("tar", "xzf", str(archive), "-C", str(where)):
            return None
        run("chmod", "-R", "a+rX", str(where))
        run(str(python), "-m", "pip", "install", "-q", f"{name}[test,tests,testing]")
    unpacked = next(path for path in where.iterdir() if path.is_dir())
    _stash_installed(folder, _top_modules(unpacked))
    tree = Tree(unpacked)
    source = "src" if (unpacked / "src").is_dir() else "."
    runner = _runner(unpacked, tree, python, source)
    good = runner.tests({}, [], wall_s=_LONGEST_SUITE_S)
    if not good.collected and not any(is_test(path) for path in tree.python_files):
        print(f"{name}: its source archive holds no tests", file=sys.stderr)
        return None
    if not good.passed:
        print(f"{name}: no test passes unbroken\n{good.output[-600:]}", file=sys.stderr)
        return None
    return Package(name, tree, python, source, good, runner)


def _stash_installed(folder: Path, modules: list[str]) -> None:
    """Put the installed copy of the package aside, and bring back the one put aside before."""
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    stash = folder / "env" / "stash"
    stash.mkdir(exist_ok=True)
    for path in stash.iterdir():
        path.rename(site / path.name)
    for module in modules:
        for path in (site / module, site / f"{module}.py"):
            if module not in _TOOLS_NEED and path.exists():
                path.rename(stash / path.name)


def _top_modules(unpacked: Path) -> list[str]:
    root = unpacked / "src" if (unpacked / "src").is_dir() else unpacked
    found = [path.name for path in root.iterdir() if (path / "__init__.py").is_file()]
    return found + [path.stem for path in root.glob("*.py") if path.stem != "setup"]


def _runner(repository: Path, tree: Tree, python: Path, source: str) -> Runner:
    command = f"PYTHONPATH={source} {python} {PYTEST}"
    sandbox = Sandbox(repository, tree.root, find_interpreter(str(python), repository))
    return Runner(sandbox, command, {"PYTHONPATH": source})
