"""A user's application with what makes failures hard to see; its broker is told by a variable."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject

from homeostat.integrations.celery import attach

app = Celery(
    "foreign",
    broker=os.environ["FOREIGN_URL"],
    backend=os.environ.get("FOREIGN_RESULTS", os.environ["FOREIGN_URL"]),
)
app.conf.update(
    task_default_queue="foreign",
    worker_prefetch_multiplier=1,
    task_always_eager="FOREIGN_EAGER" in os.environ,
    broker_transport_options={"visibility_timeout": 2},
    result_backend_transport_options={"retry_policy": {"max_retries": 1, "timeout": 1.0}},
)
attach(app)


class BrokenHook(Task):
    """Its own hook fails after its failure."""

    abstract = True

    def on_failure(self, *_: Any) -> None:
        raise RuntimeError("the hook is broken")


# Celery publishes no types.
@app.task(name="foreign.hooked", base=BrokenHook)  # type: ignore[untyped-decorator]
def hooked() -> None:
    raise LookupError("no shelf")


@app.task(name="foreign.requeued", acks_late=True, reject_on_worker_lost=True)  # type: ignore[untyped-decorator]
def requeued(deaths: str) -> str:
    with Path(deaths).open("a") as file:
        file.write("x")
    if len(Path(deaths).read_text()) <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@app.task(name="foreign.retried", autoretry_for=(OSError,), max_retries=2, retry_backoff=False,
          default_retry_delay=0)  # type: ignore[untyped-decorator]  # fmt: skip
def retried(*, host: str) -> None:
    raise OSError(f"{host} is away")


@app.task(name="foreign.again", bind=True, max_retries=1)  # type: ignore[untyped-decorator]
def again(self: Task) -> None:
    raise self.retry(exc=ValueError("not yet"), countdown=0)


@app.task(name="foreign.rejected", acks_late=True)  # type: ignore[untyped-decorator]
def rejected() -> None:
    raise Reject("no use for it", requeue=False)


class DiesAfterwards(Task):
    """Takes its whole worker along before its message is acknowledged, the first time."""

    abstract = True

    def after_return(self, *given: Any) -> None:
        deaths = Path(given[3][0])
        with deaths.open("a") as file:
            file.write("x")
        if len(deaths.read_text()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="foreign.interrupted", base=DiesAfterwards, acks_late=True)  # type: ignore[untyped-decorator]
def interrupted(deaths: str) -> None:
    raise LookupError(f"no shelf in {deaths}")


@app.task(name="foreign.ignored")  # type: ignore[untyped-decorator]
def ignored() -> None:
    raise Ignore


@app.task(name="foreign.unserialisable")  # type: ignore[untyped-decorator]
def unserialisable() -> object:
    return object()


@app.task(name="foreign.part")  # type: ignore[untyped-decorator]
def part(number: int) -> float:
    return 1 / number


@app.task(name="foreign.sum")  # type: ignore[untyped-decorator]
def added(parts: list[float]) -> float:
    return sum(parts)


@app.task(name="foreign.exits")  # type: ignore[untyped-decorator]
def exits() -> None:
    raise SystemExit(3)
