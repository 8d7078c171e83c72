"""What the gates of a cycle rested on, as the journal keeps it, and read back from there.

Rules in force are rows that are forgotten after a while and could be changed; what a decision saw
of them stands beside the decision.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np

from homeostat.clock import from_iso
from homeostat.store.trading import Directive, PolicyHead, UniverseHead
from homeostat.trading.flow.batch import Batch
from homeostat.trading.flow.ground import Ground
from homeostat.trading.market import digest

#: What of a directive decides on entries.
DIRECTIVE = (
    "mode",
    "allow_new_trades",
    "reduce_global_risk",
    "min_confidence",
    "scale_position_sizes",
    "max_positions",
    "max_leverage",
    "max_concentration",
)


def written(ground: Ground, batch: Batch) -> dict[str, Any]:
    """Return the ground, the data's fingerprints, and what batch's gates were told."""
    policy, directive, universe = ground.policy, ground.directive, ground.universe
    return {
        "ground": {
            "switches": sorted(ground.switches),
            "policy": policy and {"policy": policy.policy, "until": policy.expires_at.isoformat()},
            "directive": directive
            and {name: getattr(directive, name) for name in DIRECTIVE}
            | {"until": directive.expires_at.isoformat()},
            "universe": universe
            and {
                "mode": universe.mode,
                "until": universe.expires_at.isoformat(),
                "members": _mask(batch.panel.symbols, universe.selected),
            },
        },
        "data": digest.packed(digest.marks(batch.panel)),
        **batch.told,
    }


def ground_of(inputs: Mapping[str, Any], symbols: Sequence[str], at: datetime) -> Ground:
    """Return the ground that a journal's inputs tell of; raises KeyError where they tell of none.

    `symbols` are those of the panel that the cycle saw, in its order.
    """
    told = inputs["ground"]
    policy, directive, universe = told["policy"], told["directive"], told["universe"]
    return Ground(
        at,
        frozenset(told["switches"]),
        policy and PolicyHead(inputs["policy"], from_iso(policy["until"]), policy["policy"]),
        directive
        and Directive(
            version=inputs["directive"],
            expires_at=from_iso(directive["until"]),
            **{name: directive[name] for name in DIRECTIVE},
        ),
        universe
        and UniverseHead(
            inputs["universe"],
            from_iso(universe["until"]),
            universe["mode"],
            _members(symbols, universe["members"]),
        ),
    )


@lru_cache(maxsize=2)
def _mask(symbols: tuple[str, ...], members: frozenset[str]) -> str:
    """Return one bit a symbol, as text: a list of names would be the larger half of the head."""
    bits = np.packbits(np.fromiter((one in members for one in symbols), np.bool_, len(symbols)))
    return base64.b64encode(bits.tobytes()).decode()


def _members(symbols: Sequence[str], mask: str) -> frozenset[str]:
    bits = np.unpackbits(np.frombuffer(base64.b64decode(mask), dtype=np.uint8))
    return frozenset(one for one, bit in zip(symbols, bits, strict=False) if bit)
