"""Real drift: packages whose dependency changed under them, with the versions that broke them.

    python -m benchmarks.repair_drift --json

Each case is a package at a version, as a git repository of its own source, in an environment
with a newer dependency. The dependency is not ours, so the caller has to be adapted, or the
version pinned, and the proposal has to wait for a person.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.repair.agent import Options, fix
from homeostat.repair.proof.prover import Depth


@dataclass(frozen=True)
class Drift:
    """A package, what it is installed with, and a command that shows the break."""

    package: str
    environment: tuple[str, ...]
    command: str


CASES = (
    Drift("jinja2==2.11.3", ("markupsafe==2.1.1",), "import jinja2; assert jinja2.Template('{{ a }}').render(a=1) == '1'"),
    Drift("flask==2.2.2", ("werkzeug==3.0.1", "jinja2", "click", "itsdangerous"), "import flask; flask.Flask('a').test_client()"),
    Drift("black==21.12b0", ("click==8.1.0", "pathspec==0.9.0", "platformdirs", "tomli<2", "mypy_extensions", "typing_extensions"), "import black; black.patch_click(); assert black.format_str('a=1', mode=black.Mode()) == 'a = 1\\n'"),
    Drift("openai==1.50.0", ("httpx==0.28.1", "pydantic", "anyio", "distro", "jiter", "sniffio", "tqdm", "typing_extensions"), "import openai; openai.OpenAI(api_key='a')"),
    Drift("flask==1.1.4", ("werkzeug==1.0.1", "jinja2==3.1.2", "click==7.1.2", "itsdangerous==1.1.0", "markupsafe"), "import flask; flask.Flask('a')"),
    Drift("flask==1.1.2", ("werkzeug==1.0.1", "jinja2==2.11.3", "markupsafe==1.1.1", "click==7.1.2", "itsdangerous==2.1.2"), "import flask; flask.Flask('a')"),
    Drift("flask-wtf==0.14.3", ("flask==2.2.5", "werkzeug==2.2.3", "wtforms==2.3.3", "itsdangerous==2.1.2"), "import flask_wtf; import flask_wtf.csrf"),
    Drift("flask-login==0.6.2", ("flask==3.0.0", "werkzeug==3.0.1"), "import flask_login; flask_login.LoginManager()"),
    Drift("pytest-flask==1.2.0", ("flask==3.0.0", "werkzeug==3.0.1", "pytest"), "import pytest_flask.plugin"),
    Drift("nbconvert==5.6.1", ("jinja2==3.1.2", "mistune==2.0.4", "markupsafe", "traitlets<5.10", "pygments", "nbformat", "defusedxml", "testpath", "bleach", "entrypoints", "jupyter_core", "pandocfilters", "ipython_genutils"), "from nbconvert.filters import highlight, markdown_mistune"),
    Drift("sphinx==3.5.4", ("jinja2==3.1.2", "docutils==0.16", "markupsafe", "requests", "babel", "imagesize", "packaging", "pygments", "snowballstemmer", "alabaster", "setuptools<70"), "import sphinx.util.rst, sphinx.jinja2glue"),
    Drift("requests-toolbelt==0.10.1", ("urllib3==2.0.7", "requests"), "import requests_toolbelt"),
    Drift("flask-sqlalchemy==2.5.1", ("flask==2.3.3", "werkzeug==2.3.8", "sqlalchemy==1.4.49"), "import flask_sqlalchemy"),
    Drift("flask-restplus==0.13.0", ("werkzeug==1.0.1", "flask==1.1.4", "jinja2==2.11.3", "markupsafe==2.0.1", "itsdangerous==1.1.0", "click==7.1.2", "aniso8601", "jsonschema<4", "pytz", "six", "setuptools<70"), "import flask_restplus"),
    Drift("starlette==0.36.3", ("httpx==0.28.1", "anyio"), "from starlette.applications import Starlette\nfrom starlette.testclient import TestClient\nTestClient(Starlette())"),
    Drift("apispec==5.1.1", ("marshmallow==4.0.0", "packaging"), "import apispec.ext.marshmallow"),
)  # fmt: skip


def _run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, check=False, capture_output=True, text=True, cwd=cwd, timeout=400)


def lay_out(case: Drift, folder: Path) -> tuple[Path, Path] | str:
    """Make the environment and the repository; returns what went wrong where it cannot be."""
    python = folder / "env" / "bin" / "python"
    _run(sys.executable, "-m", "venv", str(folder / "env"))
    pip = (str(python), "-m", "pip", "install", "-q", *case.environment)
    installed = _run(*pip)
    if installed.returncode != 0:
        return "environment: " + installed.stderr.strip().splitlines()[-1][:200]
    got = _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
               "-d", str(folder / "wheel"), case.package)  # fmt: skip
    wheel = next((folder / "wheel").glob("*.whl"), None) if (folder / "wheel").exists() else None
    if got.returncode != 0 or wheel is None:
        return "package: " + (got.stderr.strip().splitlines() or ["no wheel"])[-1][:200]
    repository = folder / "repository"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(repository)
    for info in repository.glob("*.dist-info"):
        _run("rm", "-rf", str(info))
    names = [item.split("=")[0].split("<")[0] for item in case.environment]
    (repository / "requirements.txt").write_text("".join(f"{name}>=0.1\n" for name in names))
    _run("git", "init", "-q", cwd=repository)
    _run("git", "add", "-A", cwd=repository)
    _run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "Source",
         cwd=repository)  # fmt: skip
    return python, repository


def run_case(case: Drift) -> dict[str, Any]:
    """Lay a case out and run the agent on it."""
    shown: dict[str, Any] = {"package": case.package, "with": case.environment[0]}
    with tempfile.TemporaryDirectory(prefix="repair-drift-") as scratch:
        laid = lay_out(case, Path(scratch))
        if isinstance(laid, str):
            return {**shown, "outcome": "not laid out", "reason": laid}
        python, repository = laid
        (repository / "show_drift.py").write_text(case.command + "\n")
        _run("git", "add", "-A", cwd=repository)
        start = time.perf_counter()
        outcome = fix(repository, f"{python} show_drift.py", Options(depth=Depth(suite=False)))
        chosen = outcome.chosen
        return {
            **shown,
            "failure": outcome.failure,
            "outcome": outcome.status.value,
            "side": chosen.candidate.side.value if chosen else "",
            "title": chosen.candidate.title if chosen else "",
            "refused": [
                f"{item.candidate.title} → {item.proof.refusal}" for item in outcome.refused[:6]
            ],
            "seconds": round(time.perf_counter() - start, 1),
        }


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for case in CASES:
        if options.only and not any(case.package.startswith(name) for name in options.only):
            continue
        results.append(run_case(case))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    shown = [item for item in results if item["outcome"] not in {"not laid out", "healthy"}]
    mended = [item for item in shown if item["side"] in {"caller", "dependency"}]
    summary = {"cases": len(shown), "mended": len(mended), "results": results}
    print(
        json.dumps(summary, indent=2) if options.json else f"{len(mended)} of {len(shown)} mended"
    )


if __name__ == "__main__":
    main()
