"""What pytest is told beside its command: who records, and to run the tests in one process."""

from __future__ import annotations

import re
from collections.abc import Sequence

from homeostat.repair.sandbox import Interpreter

#: `-p no:cacheprovider`: the run must not depend on an earlier one. Plugins of the target stay on.
_ALWAYS = ("-p", "homeostat_recorder", "-p", "no:cacheprovider")
#: Where only passed or failed is asked, no assertion need explain itself: pytest rewrites each test
#: module for that, in each run, which takes longer than most tests.
_OUTCOME_ONLY = "--assert=plain"
#: By the module that offers it. What runs in a process of xdist's is neither recorded nor traced;
#: coverage traces as we do, and may fail a run whose tests pass.
_WITHOUT = (("xdist", "-n0"), ("pytest_cov", "--no-cov"))
#: Options of a command that say how pytest is set up, and not which tests it runs: those with a
#: value of their own word, and those that hold theirs.
_SET_UP = frozenset({"-p", "-o", "-c", "-W", "--override-ini", "--rootdir", "--import-mode"})
_SET_UP_WHOLE = re.compile(r"-[pocW].+|--(override-ini|rootdir|noconftest|[\w-]+-mode)\b")


def added(interpreter: Interpreter, given: str = "", *, outcome_only: bool) -> str:
    """Return PYTEST_ADDOPTS for a run; `given` is what the command itself puts there."""
    plain = [_OUTCOME_ONLY] if outcome_only else []
    return " ".join([given, *_ALWAYS, *plain, *alone(interpreter)]).strip()


def alone(interpreter: Interpreter) -> list[str]:
    """Return the options that overrule, at a command's end, those that would hide its tests."""
    return [option for module, option in _WITHOUT if interpreter.has_module(module)]


def set_up_of(words: Sequence[str]) -> list[str]:
    """Return the options of a pytest command that every other run of the tests needs as well."""
    found: list[str] = []
    for word, follows in zip(words, [*words[1:], ""], strict=False):
        if word in _SET_UP:
            found += [word, follows]
        elif _SET_UP_WHOLE.match(word):
            found.append(word)
    return found
