"""The backtest: the live flow's own gates, orders and exits over recorded candles, with all costs.

It claims nothing about profit. What comes out is an expectancy with its confidence interval, and
an interval that contains zero says that nothing was shown.
"""

from homeostat.trading.backtest.result import Costs, Result, Trade
from homeostat.trading.backtest.run import Progress, backtest

__all__ = ["Costs", "Progress", "Result", "Trade", "backtest"]
