"""What a challenger must show before it is promoted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

LEAST_DEFLATED_SHARPE = 0.95
#: The Brier loss of who always says one half.
NAIVE_BRIER = 0.25
#: How long a challenger is watched before it may be promoted: labels of three hours.
SHADOW = timedelta(hours=4)

#: Moments with a label that the shadow must have had; 4 h of bars give 13, a quarter hour apart.
SHADOW_LABELS = 8
#: What is said of a challenger whose time has not come yet.
NOT_OVER, WITHHELD = "its shadow period is not over", "governance withholds it"


def refusal(
    challenger: Mapping[str, Any], champion: Mapping[str, Any] | None, shadow: timedelta
) -> str:
    """Return why the challenger is not promoted, or an empty text.

    Both are given by `Trained.metrics`, the challenger's `shadow_worse` by `shadow.watch`; the
    naive baseline earns nothing and says one half. A figure that is no number shows nothing.
    """
    was = champion or {"brier": NAIVE_BRIER, "calibration_error": 1.0}
    tests = (
        (
            "its deflated Sharpe ratio is below 0.95",
            not challenger["deflated_sharpe"] >= LEAST_DEFLATED_SHARPE,
        ),
        ("it does not beat the naive baseline", not challenger["mean_return"] > 0),
        (
            "its Brier loss is no better than saying one half",
            not challenger["brier"] <= NAIVE_BRIER,
        ),
        ("its Brier loss is worse than the champion's", not challenger["brier"] <= was["brier"]),
        (
            "its calibration is worse than the champion's",
            not challenger["calibration_error"] <= was["calibration_error"],
        ),
        ("it did worse in the shadow", bool(challenger.get("shadow_worse"))),
        (
            NOT_OVER,
            shadow < SHADOW or challenger.get("shadow_labels", 0) < SHADOW_LABELS,
        ),
    )
    return next((why for why, holds in tests if holds), "")


def is_waiting(why: str) -> bool:
    """Return whether a refusal is only for now."""
    return why.startswith((NOT_OVER, WITHHELD))
