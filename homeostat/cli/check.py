"""`homeostat check run NAME`: one component's check, now."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from homeostat.cli.output import Format, Output
from homeostat.errors import HomeostatError, StoreUnavailableError

if TYPE_CHECKING:
    from homeostat.component import Component
    from homeostat.store.checks import CheckRun
    from homeostat.supervision.check import Tick

app = typer.Typer(help="Run one component's check now.", no_args_is_help=True)

_PAUSE_S = 0.05


class CheckTimeoutError(HomeostatError):
    """No worker ran the check in time; see `homeostat status`."""

    exit_code = 75


@app.callback()
def _group() -> None:
    """Run one component's check now."""


@app.command("run")
def run_check(
    name: Annotated[str, typer.Argument(help="A name of `homeostat component list`.")],
    output: Output = Format.TEXT,
    *,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a worker.")] = 60.0,
) -> None:
    """Run the check and show its evidence; exit code 0 only where it passed.

    Where a stack runs on the state folder, a worker runs it; otherwise this process does.
    """
    from homeostat import registry
    from homeostat.settings import settings
    from homeostat.store.database import migrate
    from homeostat.store.embedded import EmbeddedServer
    from workers import state_file

    registry.load(name)
    migrate()
    through_worker = state_file.running(settings()) is not None
    if through_worker:
        run = _through_worker(name, timeout)
    else:
        # A component may need Redis, and without a stack nobody else has started it.
        with EmbeddedServer(settings()) if settings().embeds_redis else nullcontext():
            run = _here(name)
    shown: dict[str, Any] = {
        "component": name,
        "ran": "worker" if through_worker else "here",
        "worker": run.worker,
        "passed": run.passed,
        "started_at": run.started_at.isoformat(),
        "seconds": round((run.ended_at - run.started_at).total_seconds(), 3),
        "work": run.work,
        "evidence": run.evidence,
    }
    if output is Format.JSON:
        typer.echo(json.dumps(shown, indent=2))
    else:
        where = f"by the worker {run.worker}" if through_worker else "here (no stack runs)"
        typer.echo(
            f"{name} {'passed' if run.passed else 'FAILED'} in {shown['seconds']} s, {where}"
        )
        typer.echo(json.dumps(run.evidence, indent=2))
    raise typer.Exit(0 if run.passed else 1)


def _tick(name: str) -> Tick:
    from homeostat.clock import utcnow
    from homeostat.supervision.check import BY_HAND, BY_HAND_INTERVAL_S, Tick

    return Tick(f"{BY_HAND}.{name}", utcnow(), BY_HAND_INTERVAL_S)


def _through_worker(name: str, timeout_s: float) -> CheckRun:
    """Ask for the check's task and wait for the row that it writes."""
    from workers import control

    tick = _tick(name)
    control.install_dispatcher().send(
        f"checks.{name}",
        {"entry": tick.entry, "due_at": tick.due_at.isoformat(), "interval_s": tick.interval_s},
        priority=8,
        expires_s=timeout_s,
    )
    deadline = time.monotonic() + timeout_s
    while (run := _row(tick.entry, tick.due_at)) is None:
        if time.monotonic() > deadline:
            raise CheckTimeoutError(
                f"No worker ran the check of {name} within {timeout_s:.0f} s; "
                "see `homeostat status` for the queues and the workers."
            )
        time.sleep(_PAUSE_S)
    return run


def _row(entry: str, due_at: datetime) -> CheckRun | None:
    from sqlalchemy import select

    from homeostat.store.checks import CheckRun
    from homeostat.store.database import reading

    with reading() as session:
        return session.scalar(
            select(CheckRun).where(CheckRun.entry == entry, CheckRun.due_at == due_at)
        )


def _here(name: str) -> CheckRun:
    """Run the check in this process; a failure becomes an incident as it would in a worker."""
    from homeostat import registry
    from homeostat.incidents.failure import Failure
    from homeostat.incidents.recognition import report
    from homeostat.incidents.recovery import healthy_run
    from homeostat.store.database import transaction
    from homeostat.supervision import check

    component: Component = registry.find(name)
    thresholds = component.spec.thresholds
    tick = _tick(name)
    try:
        with transaction() as session:
            check.run_check(session, component, tick)
            healthy_run(session, name, recover_after=thresholds.recover_after)
    except StoreUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001  # a component may raise anything
        reason = f"{type(error).__name__}: {error}"
        failure = Failure.from_exception(error, source="task", component=name)
        with transaction() as session:
            fail_after = thresholds.fail_after
            check.record_failure(session, name, tick, reason, fail_after=fail_after)
            report(session, failure, fail_after=fail_after)
    run = _row(tick.entry, tick.due_at)
    if run is None:
        raise HomeostatError(f"The check of {name} left no row; this is a defect of Homeostat.")
    return run
