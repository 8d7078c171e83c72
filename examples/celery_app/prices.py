"""What things cost."""

import math
from collections.abc import Iterable


def total(prices: Iterable[float], discount: float = 0.0) -> float:
    """Add prices up, less a discount (0.1 takes a tenth off), to the cent."""
    return round(math.fsum(prices) * (1 - discount), 2)
