"""`homeostat doctor`: what is missing on this machine, and what to do."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import typer

from homeostat.cli.output import Format, Output, table
from homeostat.errors import HomeostatError

app = typer.Typer(help="What is missing on this machine, and what to do.")

#: The state folder's disk should have this many bytes free: logs, database, append-only file.
FREE_BYTES = 500 * 1024**2


@dataclass(frozen=True)
class Finding:
    """One look at the machine. `needed` says whether Homeostat runs without it."""

    what: str
    ok: bool
    needed: bool
    seen: str
    to_do: str = ""


@app.command()
def doctor(output: Output = Format.TEXT) -> None:
    """Look at what Homeostat stands on; exit code 0 where all that is needed is there."""
    found = list(findings())
    if output is Format.JSON:
        typer.echo(json.dumps({"findings": [asdict(one) for one in found]}, indent=2))
    else:
        table(
            "Doctor",
            ("what", "result", "seen", "what to do"),
            [(one.what, _verdict(one), one.seen, "" if one.ok else one.to_do) for one in found],
        )
    raise typer.Exit(1 if any(one.needed and not one.ok for one in found) else 0)


def _verdict(finding: Finding) -> str:
    if finding.ok:
        return "passed"
    return "failed" if finding.needed else "missing"


def findings() -> Iterator[Finding]:
    """Yield the findings, the needed ones first; what depends on bad settings is left out."""
    version = sys.version.split()[0]
    yield Finding("python", sys.version_info >= (3, 11), True, version, "install Python ≥ 3.11")
    settings_found = _look("settings", _settings, "correct or remove the named variable")
    yield settings_found
    if settings_found.ok:
        yield _look("state folder", _state_folder, "set HOMEOSTAT_STATE_DIR to a writable folder")
        yield _look("database", _database, "check HOMEOSTAT_DATABASE_URL and the server")
        yield _look("broker", _broker, "check HOMEOSTAT_BROKER_URL and the server")
    yield _program("git", "the coding agent works on a git checkout", needed=True)
    to_do = "apt-get install libgomp1: without it the signals are the baseline's"
    yield _look("LightGBM", _lightgbm, to_do, needed=False)
    yield _program("bwrap", "apt-get install bubblewrap: without it no fix is proved")
    yield _program("espeak-ng", "apt-get install espeak-ng: without it the voice is mute")
    yield _program("chromium", "apt-get install chromium: without it the pages are not tested")


def _look(what: str, look: Callable[[], str], to_do: str, *, needed: bool = True) -> Finding:
    try:
        return Finding(what, True, needed, look())
    except HomeostatError as error:
        return Finding(what, False, needed, str(error), to_do)


def _settings() -> str:
    from homeostat.settings import load_settings

    chosen = load_settings()
    return f"mode {chosen.mode}, {chosen.worker_concurrency} pool children"


def _state_folder() -> str:
    from homeostat.settings import settings

    folder = settings().ensure_state_dir()
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise HomeostatError(f"{folder} has only {free // 1024**2} MB free.")
    return f"{folder}, {free // 1024**3} GB free"


def _database() -> str:
    from sqlalchemy.engine import make_url

    from homeostat.settings import settings
    from homeostat.store.database import migrate

    migrate()
    return make_url(settings().database).render_as_string()


def _broker() -> str:
    from homeostat.settings import settings
    from homeostat.store import embedded
    from workers import control, state_file

    if settings().broker_url:
        control.require_broker()
        return "it answers"
    if state_file.running(settings()) is not None:
        control.require_broker()
        return "embedded, running"
    path = embedded.binary()
    if not path.exists():
        raise HomeostatError(f"{path} is missing; run `make install` again.")
    return f"embedded, not running ({path.name})"


def _lightgbm() -> str:
    from homeostat.trading.models.boosted import library

    return f"version {library().__version__}"


def _program(name: str, to_do: str, *, needed: bool = False) -> Finding:
    path = shutil.which(name)
    return Finding(name, path is not None, needed, path or "not found", to_do)
