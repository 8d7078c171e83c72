"""A small shop on Celery. The one line about Homeostat is `attach(app)`."""

import os
from collections.abc import Sequence

from celery import Celery
from celery.utils.log import get_task_logger
from prices import total as added_up

from homeostat.integrations.celery import attach

app = Celery(
    "shop",
    broker=os.environ.get("SHOP_BROKER_URL", "redis://127.0.0.1:6379/0"),
    backend=os.environ.get("SHOP_RESULT_URL"),
)
app.conf.update(
    task_default_queue="shop",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)
attach(app)
log = get_task_logger(__name__)


class VoucherError(Exception):
    """It cannot be pickled: it takes two arguments and passes on one."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"voucher {code} refused")
        self.reason = reason


@app.task(name="shop.total")
def total(prices: Sequence[float], quantity: int) -> float:
    log.info("adding up %d prices", len(prices))
    return sum(prices) / quantity


@app.task(name="shop.receipt")
def receipt(prices: Sequence[float], discount: float = 0.0) -> float:
    return added_up(prices, discount=discount)


@app.task(name="shop.redeem")
def redeem(code: str) -> None:
    raise VoucherError(code, "expired")


@app.task(name="shop.stuck", time_limit=2)
def stuck() -> None:
    while True:
        pass


@app.task(name="shop.killed")
def killed() -> None:
    os.kill(os.getpid(), 9)


@app.task(name="shop.expected", throws=(LookupError,))
def expected() -> None:
    raise LookupError("the shelf is empty, as it is every evening")
