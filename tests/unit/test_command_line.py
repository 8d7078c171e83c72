"""The root of the command line: fast to list, lazy to load, one sentence for what is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from homeostat import cli
from homeostat.errors import HomeostatError, StateFolderError

HEAVY = ("celery", "sqlalchemy", "numpy", "pydantic", "fastapi", "redis")


def test_the_list_of_commands_imports_no_room() -> None:
    code = (
        "import sys; from homeostat.cli import run; run(['--help']); "
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    for name in ("up", "down", "status", "component", "check", "task", "doctor"):
        assert name in done.stdout


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if cli._is_there(name)])
def test_every_listed_command_can_be_loaded_and_has_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([name, "--help"]) == 0
    assert f"homeostat {name}" in capsys.readouterr().out


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_an_expected_error_is_one_sentence_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def broken() -> None:
        raise StateFolderError("The folder is full; make room.")

    monkeypatch.setattr(cli, "load", lambda *_: typer.main.get_command(app))
    assert cli.run(["status"]) == StateFolderError.exit_code
    assert capsys.readouterr().err == "homeostat: The folder is full; make room.\n"


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "load", lambda *_: typer.main.get_command(app))
    with pytest.raises(ZeroDivisionError):
        cli.run(["status"])


def test_a_command_of_the_modules_own_name_stands_at_the_top() -> None:
    assert cli.load("up").name == "up"
    assert "list" in cli.load("component").commands


def test_every_error_of_the_house_says_something() -> None:
    def errors(base: type[HomeostatError]) -> list[type[HomeostatError]]:
        return [base, *(e for sub in base.__subclasses__() for e in errors(sub))]

    for error in errors(HomeostatError):
        assert 0 < error.exit_code < 256
        assert error.__doc__
