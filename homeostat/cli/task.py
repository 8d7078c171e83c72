"""`homeostat task`: any task, by name."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from homeostat.cli.output import Format, Output, table
from homeostat.errors import HomeostatError

app = typer.Typer(help="Ask for any task by name.", no_args_is_help=True)


class UnknownTaskError(HomeostatError):
    """No task has that name; `homeostat task list` shows the names."""

    exit_code = 64


class TaskArgumentsError(HomeostatError):
    """The arguments are not a JSON object."""

    exit_code = 65


@app.command("list")
def list_tasks(output: Output = Format.TEXT) -> None:
    """List every task with its queue and its limits."""
    from workers import queues

    rows = [
        {
            "task": name,
            "queue": queues.queue_of(name),
            "time_limit_s": task.time_limit,
            "rate_limit": task.rate_limit,
        }
        for name, task in sorted(_tasks().items())
    ]
    if output is Format.JSON:
        typer.echo(json.dumps({"tasks": rows}, indent=2))
        return
    columns = ("task", "queue", "time_limit_s", "rate_limit")
    table("Tasks", columns, [[str(row[key] or "") for key in columns] for row in rows])


@app.command("call")
def call_task(
    name: Annotated[str, typer.Argument(help="A name of `homeostat task list`.")],
    kwargs: Annotated[str, typer.Option(help="The task's arguments, a JSON object.")] = "{}",
    *,
    priority: Annotated[int, typer.Option(min=0, max=10, help="10 critical … 0 idle.")] = 5,
    output: Output = Format.TEXT,
) -> None:
    """Send one message that asks for the task, signed; a worker runs it, now or when one is up."""
    from workers import control, queues

    arguments = _arguments(kwargs)
    if name not in _tasks():
        raise UnknownTaskError(f"No task is named {name!r}; `homeostat task list` shows the names.")
    control.install_dispatcher().send(name, arguments, priority=priority)
    if output is Format.JSON:
        sent = {"task": name, "kwargs": arguments, "queue": queues.queue_of(name)}
        typer.echo(json.dumps(sent, indent=2))
    else:
        typer.echo(f"{name} was sent to the queue {queues.queue_of(name)}.")


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise TaskArgumentsError(
            f"--kwargs is not JSON ({error}); give an object such as '{{\"key\": 1}}'."
        ) from error
    if not isinstance(arguments, dict):
        raise TaskArgumentsError(
            f"--kwargs is {text}, not a JSON object; give one such as '{{\"key\": 1}}'."
        )
    return arguments


# Celery publishes no types.
def _tasks() -> dict[str, Any]:
    from workers.app import app as celery_app

    celery_app.loader.import_default_modules()
    return {n: task for n, task in celery_app.tasks.items() if not n.startswith("celery.")}
