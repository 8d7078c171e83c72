"""How far a remedy is trusted, from how often it worked: a Beta posterior over its outcomes.

The prior is uniform, Beta(1, 1): nothing is known of a remedy that nobody tried. With `won`
successes and `lost` failures the posterior is Beta(1 + won, 1 + lost), the conjugate prior of
the Bernoulli trial. Rivals are chosen between by Bayes-UCB (Kaufmann, Cappé and Garivier, 2012):
the one whose posterior quantile at 1 - 1/n is highest, so that an untried one is tried and one
that keeps failing is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: What worked less often than this, as far as 95 % of the posterior says, is no longer trusted.
TRUST_FLOOR = 0.5
_CREDIBLE = 0.95


@dataclass(frozen=True)
class Confidence:
    """What is known of one remedy: counts, the posterior's mean, and its 95 % upper bound."""

    won: int
    lost: int
    mean: float
    upper: float

    @property
    def trusted(self) -> bool:
        """False only where the outcomes all but exclude that it works half of the time."""
        return self.upper >= TRUST_FLOOR


def quantile(won: int, lost: int, at: float) -> float:
    """Return the posterior's quantile."""
    # SciPy takes a tenth of a second to import, and most processes never come here.
    from scipy.special import betaincinv

    return float(betaincinv(1 + won, 1 + lost, at))


def confidence(won: int, lost: int) -> Confidence:
    """Return what the outcomes say of a remedy."""
    mean = (1 + won) / (2 + won + lost)
    return Confidence(won, lost, mean, quantile(won, lost, _CREDIBLE))


def ranked(names: Iterable[str], tally: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return the names, the most promising first; equals keep their order."""
    listed = list(names)
    if len(listed) < 2:
        return listed
    trials = sum(sum(tally.get(name, (0, 0))) for name in listed)
    level = 1 - 1 / (trials + 2)
    return sorted(listed, key=lambda name: -quantile(*tally.get(name, (0, 0)), level))
