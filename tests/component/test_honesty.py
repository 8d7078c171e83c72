"""The honesty matrix: every kernel × deliberately broken variants; none of them may be RUNNING.

A kernel joins by a file of its name in `honesty_variants/`, whose `VARIANTS` maps each kind of
dishonesty to a subclass of the kernel. A file may also define `world`, a context manager for what
the kernel's probe needs around it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.component import Component, Context, State
from homeostat.settings import settings
from homeostat.store import checks, database
from homeostat.store.embedded import EmbeddedServer
from homeostat.supervision.check import Tick, record_failure, run_check
from homeostat.supervision.state import standings

FOLDER = Path(__file__).parent / "honesty_variants"
KINDS = ("does nothing", "returns success", "stale data stamped now")
KERNELS = [name for name in registry.built_in_names() if name.startswith("kernels.")]


def module_of(kernel: str) -> ModuleType | None:
    path = FOLDER / f"{kernel.removeprefix('kernels.')}.py"
    if not path.exists():
        return None
    spec = importlib.util.spec_from_file_location(f"honesty_variants_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def variants_of(kernel: str) -> Mapping[str, type[Component]]:
    module = module_of(kernel)
    return module.VARIANTS if module else {}


MATRIX = [(kernel, kind) for kernel in KERNELS for kind in variants_of(kernel)]


@pytest.fixture
def ground(sqlite_store: str) -> Iterator[None]:
    del sqlite_store
    with EmbeddedServer(settings()):
        yield


def checked(kernel: str, component: Component) -> tuple[State, str]:
    """Run one check as a worker does, and return the state that it leads to."""
    tick = Tick(kernel, utcnow(), 30.0)
    try:
        with database.transaction() as session:
            run_check(session, component, tick)
    except Exception as error:  # noqa: BLE001  # as the task base does
        with database.transaction() as session:
            record_failure(session, kernel, tick, repr(error))
    with database.reading() as session:
        standing = standings(registry.specs(), checks.leases(session), utcnow())[kernel]
    return standing.state, standing.reason


def needs_are_well(kernel: str) -> None:
    """Give all other components a lease, so that the state tells of this one alone."""
    with database.transaction() as session:
        for name in registry.specs():
            lease = checks.lease_of(session, name)
            if name != kernel:
                lease.probe_passed = True
                lease.expires_at = utcnow() + timedelta(minutes=10)
                lease.evidence = {"observed": {"given": True}}


def world_of(kernel: str) -> AbstractContextManager[Any]:
    world = getattr(module_of(kernel), "world", nullcontext)
    found: AbstractContextManager[Any] = world()
    return found


@pytest.mark.parametrize("kernel", KERNELS)
def test_honesty_is_tested_for_every_kernel_in_every_kind(kernel: str) -> None:
    missing = [kind for kind in KINDS if kind not in variants_of(kernel)]
    assert not missing, f"declare {missing} in tests/component/honesty_variants for {kernel}"
    assert all(issubclass(one, registry.load(kernel)) for one in variants_of(kernel).values())


@pytest.mark.parametrize("kernel", KERNELS)
def test_honesty_control_the_kernel_as_it_ships_is_running(ground: None, kernel: str) -> None:
    del ground
    needs_are_well(kernel)
    with world_of(kernel):
        state, reason = checked(kernel, registry.find(kernel))
    assert state is State.RUNNING, reason


@pytest.mark.parametrize(("kernel", "kind"), MATRIX)
def test_honesty_a_broken_variant_is_not_running(ground: None, kernel: str, kind: str) -> None:
    del ground
    needs_are_well(kernel)
    broken = variants_of(kernel)[kind](Context(settings=settings(), find=registry.find))
    with world_of(kernel):
        # Twice, because one that repeats itself may have been right once.
        for _ in range(2):
            state, reason = checked(kernel, broken)
            assert state is not State.RUNNING
            assert reason
