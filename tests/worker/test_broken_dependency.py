"""A kernel really broken in a running stack: what needs it is DEGRADED by name, the rest runs on.

Each break is of the world that the kernel stands on, never of its code, and each is mended again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import text
from sqlalchemy.orm import Session

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import State
from homeostat.kernels.governance.policy import SHIPPED
from homeostat.kernels.message_bus.subscription import stream
from homeostat.store import checks
from homeostat.supervision.state import Standing, standings
from tests.running_stack import RunningStack, running
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SPECS = {name: spec for name, spec in registry.specs().items() if name.startswith("kernels.")}
#: A busy machine gets round to each check within it.
SEEN_S = 180.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("stack")
    (folder / "policy.toml").write_text(SHIPPED.read_text())
    # Nobody mends but the test itself.
    settings = {
        "HOMEOSTAT_POLICY_FILE": str(folder / "policy.toml"),
        "HOMEOSTAT_RECOVERY": "false",
    }
    with running(folder / "var", **settings) as found:
        yield found


@dataclass(frozen=True)
class Break:
    """How a kernel's ground is taken from it, and given back."""

    do: Callable[[RunningStack], None]
    mend: Callable[[RunningStack], None]


def policy(words: str | None) -> Callable[[RunningStack], None]:
    def write(stack: RunningStack) -> None:
        file = Path(stack.extra["HOMEOSTAT_POLICY_FILE"])
        file.write_text(SHIPPED.read_text() if words is None else words)

    return write


def renamed(table: str, to: str) -> Callable[[RunningStack], None]:
    def rename(stack: RunningStack) -> None:
        with stack.engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {to}"))

    return rename


def key_file(mode: int) -> Callable[[RunningStack], None]:
    def change(stack: RunningStack) -> None:
        (stack.state_dir / "secrets.keys").chmod(mode)

    return change


def stream_of_the_probe(broken: str) -> Callable[[RunningStack], None]:
    """Put a plain value where the bus has its stream, or take it away again."""

    def change(stack: RunningStack) -> None:
        with Redis.from_url(stack.settings.redis) as client:
            client.delete(stream("bus.probe", 0))
            if broken:
                client.set(stream("bus.probe", 0), broken)

    return change


BREAKS = {
    "kernels.governance": Break(policy("no policy at all ["), policy(None)),
    "kernels.health_monitor": Break(
        renamed("state_changes", "gone"), renamed("gone", "state_changes")
    ),
    "kernels.clarity_framework": Break(renamed("trust", "gone"), renamed("gone", "trust")),
    "kernels.secret_manager": Break(key_file(0o644), key_file(0o600)),
    "kernels.message_bus": Break(stream_of_the_probe("no stream"), stream_of_the_probe("")),
}


def picture(stack: RunningStack) -> dict[str, Standing]:
    with Session(stack.engine.execution_options(reading=True)) as session:
        return standings(SPECS, checks.leases(session), utcnow())


def differs(stack: RunningStack, broken: str) -> list[str]:
    """Return where the kernels' states are not what they must be with that one broken, or none."""
    found = []
    for name, standing in picture(stack).items():
        wanted, reason = State.RUNNING, ""
        if name == broken:
            wanted, reason = State.FAILED, standing.reason
        elif broken in SPECS[name].needs:
            wanted, reason = State.DEGRADED, f"needs {broken}, which is FAILED"
        if (standing.state, standing.reason) != (wanted, reason):
            found.append(f"{name} is {standing.state} ({standing.reason})")
    return found


def seen(stack: RunningStack, broken: str) -> None:
    """Wait until the states are what they must be; says where they are not."""
    if broken:
        assert stack.run("check", "run", broken).returncode == 1, "its own check says so"
    last: list[str] = []

    def as_it_must_be() -> bool:
        last[:] = differs(stack, broken)
        return not last

    try:
        wait_until(as_it_must_be, f"the states with {broken or 'nothing'} broken", SEEN_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from error


@pytest.mark.parametrize("kernel", BREAKS)
def test_what_needs_a_broken_kernel_is_degraded_by_name_and_the_rest_runs(
    stack: RunningStack, kernel: str
) -> None:
    seen(stack, "")
    BREAKS[kernel].do(stack)
    try:
        seen(stack, kernel)
    finally:
        BREAKS[kernel].mend(stack)
    assert stack.run("check", "run", kernel).returncode == 0, "its own check says so"
    seen(stack, "")
