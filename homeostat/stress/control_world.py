"""The probes' control: a world in which no honest probe can pass.

Each component's probe is run against an empty database without a schema, a Redis that is not
there, no program on the path, and with every function of its own module and every other verb of
its own class broken. A probe that passes there looks at nothing, so that nothing it says
elsewhere is proven.

`python -m homeostat.stress.control_world` prints {component: {"passed": …, "how": …}}.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.component import Component, Context
from homeostat.errors import HomeostatError
from homeostat.registry import LoadFailure
from homeostat.settings import settings
from homeostat.store.database import make_engine

#: One probe may take this long, in seconds, before it counts as one that did not pass.
PROBE_S = 10
#: All of them together.
ALL_S = 180.0
#: What stays whole: without these a probe could not even begin.
KEPT = frozenset({"probe", "boot", "need", "spec", "context"})


class BrokenOnPurposeError(HomeostatError):
    """The control world broke this function."""


class ControlWorldError(HomeostatError):
    """The control world could not be run."""


def probes_can_fail() -> dict[str, bool]:
    """Return, per component, whether its probe fails where it must; in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="homeostat-control-world-") as folder:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HOMEOSTAT_")}
        environment = {
            **kept,
            "HOMEOSTAT_STATE_DIR": folder,
            "HOMEOSTAT_DATABASE_URL": f"sqlite:///{Path(folder) / 'empty.sqlite3'}",
            "HOMEOSTAT_REDIS_URL": f"unix://{Path(folder) / 'nobody.sock'}",
            # No git, no bubblewrap, no shell: whoever needs a program does not find it.
            "PATH": folder,
        }
        done = subprocess.run(
            [sys.executable, "-m", "homeostat.stress.control_world"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=ALL_S,
            check=False,
        )
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise ControlWorldError(f"The control world gave nothing: {done.stderr[-500:]}") from error
    return {name: not result["passed"] for name, result in found.items()}


def run_all() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each component's name with what its probe did in this process's world."""
    engine = make_engine(settings().database)
    context = Context(settings=settings(), find=_nobody)
    for name, found in registry.load_all():
        if isinstance(found, LoadFailure):
            yield name, {"passed": False, "how": f"it does not load: {found.error!r}"}
            continue
        _break(found)
        with Session(engine) as session:
            yield name, _probe(found, context, session)
            session.rollback()


def _nobody(name: str) -> Component:
    raise BrokenOnPurposeError(f"{name} is not there in the control world.")


def _probe(kind: type[Component], context: Context, session: Session) -> dict[str, Any]:
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(PROBE_S)
    try:
        evidence = kind(context).probe(session)
    except Exception as error:  # noqa: BLE001  # any way of not passing is as good
        return {"passed": False, "how": f"raised {type(error).__name__}"}
    finally:
        signal.alarm(0)
    return {"passed": bool(evidence.passed), "how": evidence.claim}


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("The probe took too long in the control world.")


def _break(kind: type[Component]) -> None:
    """Break the component's own functions and verbs, so that only an empty probe gets through."""
    for module in _modules_of(kind):
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value.__module__.startswith(kind.__module__):
                setattr(module, name, _broken(name))
    for name, value in list(vars(kind).items()):
        if inspect.isfunction(value) and name not in KEPT and not name.startswith("__"):
            setattr(kind, name, _broken(name))


def _modules_of(kind: type[Component]) -> list[ModuleType]:
    own = kind.__module__
    return [
        module
        for name, module in list(sys.modules.items())
        if name == own or name.startswith(f"{own}.")
    ]


def _broken(name: str) -> Any:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise BrokenOnPurposeError(f"{name} is broken in the control world.")

    return broken


def main() -> None:
    """Print every result as one line of JSON."""
    sys.stdout.write(json.dumps(dict(run_all())) + "\n")


if __name__ == "__main__":
    main()
