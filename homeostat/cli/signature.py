"""`homeostat signature`: what a failure is grouped by, and why."""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeostat.cli.output import Format
from homeostat.errors import HomeostatError

if TYPE_CHECKING:
    from homeostat.incidents.failure import Failure

app = typer.Typer(help="Signatures of failures.", no_args_is_help=True)

#: A larger file is not one failure's traceback.
LARGEST = 16 * 1024 * 1024


class UnreadableFileError(HomeostatError):
    """The file cannot be read; give a file with a traceback or a JSON event, or - for input."""

    exit_code = 66


@app.callback()
def _group() -> None:
    """Signatures of failures."""


@app.command("explain")
def explain(
    file: Annotated[str, typer.Argument(help="A traceback as text, or a JSON event; - for input.")],
    output: Annotated[Format, typer.Option("-o", "--output", help="text or json")] = Format.TEXT,
    *,
    component: Annotated[str, typer.Option(help="The component that failed.")] = "",
    task: Annotated[str | None, typer.Option(help="The task that failed.")] = None,
) -> None:
    """Show both keys of a failure and why it is grouped so."""
    from homeostat.incidents.signature import signature_of

    failure, why = failure_in(file, component=component, task=task)
    signature = signature_of(failure)
    basis = signature.basis
    shown = {
        "label": signature.label,
        "group_key": signature.group_key,
        "replay_key": signature.replay_key,
        "version": signature.version,
        "reason": signature.reason,
        "type": basis.type,
        "frames": list(basis.frames),
        "task": basis.task,
        "template": basis.template,
        "context": basis.context,
        "target_hash": basis.target_hash,
        "replayable": signature.replayable,
        "replay_reason": signature.replay_reason,
        "source_reason": why,
        "former": list(signature.former),
    }
    if output is Format.JSON:
        typer.echo(json.dumps(shown, indent=2))
        return
    for name in ("label", "group_key", "replay_key", "version", "type", "task", "template"):
        typer.echo(f"{name:12} {shown[name]}")
    for number, frame in enumerate(basis.frames):
        typer.echo(f"{'frames' if number == 0 else '':12} {frame}")
    typer.echo(f"{'context':12} {basis.context}")
    typer.echo(f"{'group':12} {signature.reason}")
    typer.echo(f"{'replay':12} {signature.replay_reason}")
    typer.echo(f"{'source':12} {why}")


def failure_in(file: str, *, component: str, task: str | None) -> tuple[Failure, str]:
    """Return the failure that a file tells of, and what its keys are drawn from.

    Raises UnreadableFileError, TracebackTextError or EventError.
    """
    from homeostat.incidents import sources
    from homeostat.incidents.event import failure_from
    from homeostat.incidents.failure import Source

    failure = failure_from(read(file), component=component, task=task)
    if failure.source is not Source.CLI:
        return failure, "The event names modules and functions, so nothing was looked up."
    completion = sources.complete(failure)
    return completion.failure, completion.reason


def read(file: str) -> str:
    """Return the text of a file, or of standard input for `-`; raises UnreadableFileError."""
    try:
        if file == "-":
            return sys.stdin.read(LARGEST)
        path = Path(file)
        if path.stat().st_size > LARGEST:
            raise UnreadableFileError(f"{file} is larger than 16 MB, so no single traceback.")
        raw = path.read_bytes()
        # PowerShell writes what it redirects as UTF-16, with a byte order mark.
        utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return raw.decode("utf-16" if utf16 else "utf-8-sig", "backslashreplace")
    except OSError as error:
        raise UnreadableFileError(
            f"{file} cannot be read ({error.strerror}); give a file with a traceback or a JSON "
            "event, or - for standard input."
        ) from error
