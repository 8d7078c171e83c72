"""What changes the world is called from few places, each of which has asked for leave.

Each row names a function that acts, and every module that may call it. The paths through these
modules are run under policies that refuse them in `tests/component/kernels/test_acting_paths.py`;
a call from anywhere else is a path that nobody has looked at.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("homeostat", "tasks", "workers")

#: (what the call is made on, the function) → the modules that may. An empty name: any.
DOORS: dict[tuple[str, str], set[str]] = {
    # A playbook's step: SelfHealing asks for it, and for its requested runs once more.
    ("acting", "carry_out"): {"homeostat/kernels/self_healing/__init__.py"},
    ("action", "act"): {"homeostat/repair/remedy.py"},
    # An act under contract: the healer has asked, the framework asks for its callers.
    ("contracts", "act"): {"homeostat/kernels/self_healing/acting.py"},
    ("contracts", "carry_out"): {"homeostat/kernels/self_healing/acting.py"},
    ("contracts", "within"): {"homeostat/kernels/verification_framework/__init__.py"},
    ("", "under_contract"): {
        "homeostat/kernels/meta_loop/__init__.py",
        "homeostat/trading/models/placing.py",
    },
    # The timetable: the scheduler owns it, the tuning loop acts under contract.
    ("beat", "set_interval"): {"homeostat/kernels/scheduler.py"},
    ("", "set_interval"): {
        "homeostat/kernels/scheduler.py",
        "homeostat/kernels/meta_loop/interval.py",
    },
    # A model's name: promoted under contract.
    ("artifacts", "promote"): {"homeostat/trading/models/placing.py"},
    ("", "promote"): {
        "homeostat/trading/models/placing.py",
        "homeostat/trading/retraining_orchestrator.py",
    },
    ("artifacts", "roll_back"): {"homeostat/trading/retraining_orchestrator.py"},
    # Code: the agent asks, a refactoring spends an approval; what is fixed by hand is a person's.
    ("", "commit_changes"): {
        "homeostat/kernels/coding_agent/committing.py",
        "homeostat/repair/apply.py",
        "homeostat/repair/decisions.py",
    },
    ("", "apply_changes"): {"homeostat/repair/agent.py", "homeostat/repair/refactoring.py"},
    # Orders that open or add; what closes a position needs nobody's leave.
    ("venue", "send"): {
        "homeostat/trading/flow/additions.py",
        "homeostat/trading/flow/opening.py",
    },
    # Processes: restarted by the healer's actions alone, stopped with the stack.
    ("processes", "restart"): {"homeostat/repair/actions/restarts.py"},
}


@cache
def calls() -> dict[tuple[str, str], set[str]]:
    """Return (name it is called on, function) → modules, of every call in the code."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            module = str(file.relative_to(ROOT))
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and (name := _called(node.func)):
                    found[name].add(module)
                    found["", name[1]].add(module)
    return found


def _called(function: ast.expr) -> tuple[str, str] | None:
    if isinstance(function, ast.Name):
        return "", function.id
    if not isinstance(function, ast.Attribute):
        return None
    on = function.value
    name = on.id if isinstance(on, ast.Name) else on.attr if isinstance(on, ast.Attribute) else ""
    return name, function.attr


@pytest.mark.parametrize("door", DOORS, ids=lambda door: ".".join(filter(None, door)))
def test_it_is_called_only_from_where_leave_was_asked(door: tuple[str, str]) -> None:
    assert calls()[door] == DOORS[door]
