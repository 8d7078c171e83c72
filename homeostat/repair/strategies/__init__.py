"""The strategies, one module each: from a case to candidates.

Their order is the order of asking: history first, then the codemods of the classes, then what
adapts to installed packages. `candidates(case)` ranks what they all yield.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from homeostat.repair.case import Candidate, Case, Origin, Strategy
from homeostat.repair.strategies import (
    abstract_method,
    circular_import,
    configuration_drift,
    constructor_mismatch,
    deleted_init,
    dependency_pin,
    dropped_default,
    dropped_export,
    dropped_import,
    dropped_parameter,
    guards,
    installed_call,
    installed_package,
    language_model,
    missing_none_guard,
    moved_module,
    renamed_definition,
    renamed_parameter,
    version_history,
)

STRATEGIES: tuple[Strategy, ...] = (
    version_history,
    renamed_parameter,
    dropped_default,
    dropped_parameter,
    constructor_mismatch,
    renamed_definition,
    abstract_method,
    dropped_export,
    dropped_import,
    moved_module,
    deleted_init,
    circular_import,
    configuration_drift,
    missing_none_guard,
    guards,
    installed_package,
    installed_call,
)
_ORDER = list(Origin)
_log = logging.getLogger(__name__)


def last_resort(case: Case) -> Iterator[Candidate]:
    """Yield what is fetched from outside, and so is asked only when nothing else has held."""
    yield from dependency_pin.candidates(case)
    yield from language_model.candidates(case)


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield the candidates of all strategies, best first, each patch once.

    Origin first (history before codemods before relocation), then score, then patch size. A
    candidate that the evidence allows to be applied by itself goes before one that does not.
    """
    found: dict[tuple[tuple[str, str | None], ...], Candidate] = {}
    for strategy in STRATEGIES:
        try:
            for candidate in strategy.candidates(case):
                if _changes_something(case, candidate):
                    found.setdefault(tuple(sorted(candidate.changes.items())), candidate)
        # One strategy's mistake on odd source must not keep the others from a repair.
        except Exception:  # noqa: BLE001 - as above; it is logged with its traceback
            _log.exception("The strategy %s failed.", strategy)
    yield from sorted(
        found.values(),
        key=lambda item: (
            _ORDER.index(item.origin),
            not item.rule,
            -item.score,
            sum(len(text or "") for text in item.changes.values()),
        ),
    )


def _changes_something(case: Case, candidate: Candidate) -> bool:
    return any(case.tree.read(path) != text for path, text in candidate.changes.items())
