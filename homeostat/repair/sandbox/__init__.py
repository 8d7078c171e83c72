"""Where the code of a target runs: a private copy, no network, no secrets, bounded resources."""

from homeostat.repair.sandbox.interpreter import Interpreter, find_interpreter
from homeostat.repair.sandbox.isolation import Isolation, detect_isolation
from homeostat.repair.sandbox.limits import Limits
from homeostat.repair.sandbox.ready import Ready
from homeostat.repair.sandbox.runner import Run, Sandbox

__all__ = [
    "Interpreter",
    "Isolation",
    "Limits",
    "Ready",
    "Run",
    "Sandbox",
    "detect_isolation",
    "find_interpreter",
]
