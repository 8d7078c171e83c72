"""The command line: one sub-command per room, each imported only when it is asked for.

An error of Homeostat's own is one sentence on standard error and its exit code; a traceback at
the door would tell its reader nothing to do.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.main import get_command, get_group

from homeostat.errors import HomeostatError

#: Sub-command → the module that holds its Typer `app`, and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("stack", "Start the stack and supervise it until Ctrl-C, or in the background."),
    "down": ("stack", "Stop the stack cleanly and leave nothing behind."),
    "status": ("stack", "Every component's state with its evidence; queues, incidents."),
    "boot": ("boot", "Boot all components by tier, with evidence."),
    "stress": ("stress", "Run a stress test and report; exit code 0 only for STABLE."),
    "chaos": ("chaos", "Chaos scenarios: real faults, each with its control."),
    "component": ("component", "The supervised components."),
    "check": ("check", "Run one component's check now."),
    "task": ("task", "Ask for any task by name."),
    "incident": ("incident", "Incidents, with their evidence and timelines."),
    "approval": ("approval", "What waits for a person, and the person's word."),
    "secret": ("secret", "Secrets, encrypted at rest; their values are never shown."),
    "fix": ("fix", "Fixes: what was found, proved, applied, taken back."),
    "drill": ("drill", "Known defects in a copy of the platform, mended for real."),
    "kb": ("kb", "The knowledge of past fixes."),
    "signature": ("signature", "Signatures of failures."),
    "trade": ("trade", "The trading subsystems' decisions, by hand."),
    "log": ("log", "The immutable log."),
    "snapshot": ("snapshot", "Last-known-good snapshots, and what differs from them."),
    "ask": ("ask", "Ask in words."),
    "doctor": ("doctor", "What is missing on this machine, and what to do."),
}

#: What can be asked whatever the settings are, because it says what is wrong with them.
NEED_NO_SETTINGS = frozenset({"doctor"})
#: The exit code of a run that was stopped by Ctrl-C, as shells have it.
INTERRUPTED = 130
#: And of one that found its database or its disk unusable, as `sysexits.h` has it.
UNUSABLE = 74


def main() -> None:
    """Run the command line; the entry point `homeostat`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; an expected error becomes one sentence."""
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    known = name in COMMANDS and _is_there(name)
    try:
        _refuse_unreadable(arguments)
        if not known:
            _root().main(list(arguments) or ["--help"], prog_name="homeostat")
            return 0
        if name not in NEED_NO_SETTINGS and "--help" not in rest:
            _refuse_unusable_settings()
        load(name, rest).main(rest, prog_name=f"homeostat {name}")
    except HomeostatError as error:
        print(f"homeostat: {error}", file=sys.stderr)  # noqa: T201  # the door speaks here
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output (`| head`) has gone; the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        sentence = _in_words(error)
        if not sentence:
            raise
        print(f"homeostat: {sentence}", file=sys.stderr)  # noqa: T201  # as above
        return UNUSABLE
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


# The command is of a class that Typer keeps to itself.
def load(name: str, arguments: Sequence[str] = ()) -> Any:
    """Return the sub-command of that name, from its module's `app`.

    Where the app has a command of the very same name (`up` in `stack`), it is that one. An app
    with a single command is that command itself, unless the command is named (`component list`).
    """
    app: typer.Typer = importlib.import_module(f"homeostat.cli.{COMMANDS[name][0]}").app
    group = get_group(app)
    if name in group.commands:
        return group.commands[name]
    named = bool(arguments) and arguments[0] in group.commands
    if named or len(group.commands) > 1 or app.registered_callback:
        return group
    return next(iter(group.commands.values()))


def _in_words(error: Exception) -> str:
    from homeostat.store.trouble import in_words

    return in_words(error)


class UnreadableArgumentError(HomeostatError):
    """An argument is no UTF-8 text."""

    exit_code = 64


def _refuse_unreadable(arguments: Sequence[str]) -> None:
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UnreadableArgumentError(
                f"The argument {word!a} is no UTF-8 text; type it again."
            ) from None


def _refuse_unusable_settings() -> None:
    from homeostat.settings import settings

    settings()


def _is_there(name: str) -> bool:
    return find_spec(f"homeostat.cli.{COMMANDS[name][0]}") is not None


def _root() -> Any:
    root = typer.Typer(
        help="Homeostat keeps a system of many parts alive. Green is earned.",
        no_args_is_help=True,
        add_completion=False,
    )

    @root.callback(invoke_without_command=True)
    def _options(
        *,
        version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    ) -> None:
        if version:
            from importlib.metadata import version as version_of

            typer.echo(f"homeostat {version_of('homeostat')}")

    for name in COMMANDS:
        if _is_there(name):
            # Only the line is needed here: `run` imports a module once its name is given.
            root.command(name, help=COMMANDS[name][1])(_only_listed)
    return get_command(root)


def _only_listed() -> None:
    """Stand for a sub-command in the list of all."""
