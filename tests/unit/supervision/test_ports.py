"""The kernels fulfil the ports by which others ask for them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from homeostat import registry
from homeostat.supervision import ports

PORTS = {
    "kernels.immutable_log": ports.AuditLog,
    "kernels.message_bus": ports.Bus,
    "kernels.governance": ports.Governance,
    "kernels.clarity_framework": ports.Clarity,
    "kernels.verification_framework": ports.Verification,
    "kernels.librarian": ports.Library,
    "kernels.scheduler": ports.Timetable,
}


def asked(port: type[Any]) -> dict[str, list[inspect.Parameter]]:
    """Return what a port asks for: method → parameters."""
    return {
        name: list(inspect.signature(method).parameters.values())
        for name, method in vars(port).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


@pytest.mark.parametrize("kernel", PORTS)
def test_a_kernel_takes_what_its_port_passes(kernel: str) -> None:
    """Same methods, same parameters, same ways to pass them, same defaults."""
    for method, parameters in asked(PORTS[kernel]).items():
        offered = inspect.signature(getattr(registry.load(kernel), method)).parameters
        for wanted in parameters:
            given = offered[wanted.name]
            assert (given.kind, given.default) == (wanted.kind, wanted.default), (method, wanted)


def test_no_kernel_keeps_a_copy_of_a_port() -> None:
    """One shape, one place: a second `class AuditLog(Protocol)` would drift from the first."""
    names = {port.__name__ for port in PORTS.values()}
    for kernel in registry.built_in_names():
        module = inspect.getmodule(registry.load(kernel))
        own = {
            name
            for name, value in vars(module).items()
            if getattr(value, "_is_protocol", False) and value.__module__ != ports.__name__
        }
        assert not own & names, kernel
