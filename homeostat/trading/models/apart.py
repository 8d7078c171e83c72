"""Trains a model in a process of its own, so that what training loads leaves with it.

LightGBM brings SciPy, and PyTorch half a gigabyte; a ticking worker must not grow by either. The
child reads the market itself and answers with one line of JSON on its standard output.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeostat.clock import from_iso
from homeostat.trading.models.agent import ModelUnavailableError

#: Seconds of CPU after which a training is ended, also when nobody waits for it any more.
CPU_S = 600
#: Bars that a training looks back: a day and a half.
TRAINING_BARS = 2_160
#: A training gives way to the ticking checks.
_NICE = 10
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Made:
    """A trained model as it comes back: its bytes, and what it was judged by."""

    content: bytes
    metrics: dict[str, Any]
    samples: int


class TrainingError(Exception):
    """The training process ended without an answer; its last words are the message."""


def train(name: str, at: datetime) -> Made:
    """Train the model of that name on the market as of `at`, in a process of its own.

    Raises ValueError where the bars do not suffice, ModelUnavailableError where the library is
    missing, and TrainingError where the process broke.
    """
    command = [sys.executable, "-m", "homeostat.trading.models.apart", name, at.isoformat()]
    environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise TrainingError(f"Training {name} ended with {done.returncode}: {done.stderr[-500:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if "unavailable" in answer:
        raise ModelUnavailableError(answer["unavailable"], answer["why"])
    if "too_little" in answer:
        raise ValueError(answer["too_little"])
    content = base64.b64decode(answer["content"])
    return Made(content, answer["metrics"], int(answer["samples"]))


def main(name: str, at: str) -> None:
    """Be the child: train, and answer in one line."""
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    print(json.dumps(_answer(name, from_iso(at))))  # noqa: T201  # the answer is the output


def _answer(name: str, at: datetime) -> dict[str, Any]:
    from homeostat.settings import settings
    from homeostat.trading.market import port
    from homeostat.trading.models import training

    panel = port.market(settings()).panel(at, TRAINING_BARS)
    try:
        found = training.train(panel, name)
    except ModelUnavailableError as error:
        return {"unavailable": error.reason, "why": str(error)}
    except ValueError as error:
        return {"too_little": str(error)}
    metrics = {**found.metrics(), **training.ground(panel)}
    content = base64.b64encode(found.model.content()).decode()
    return {"content": content, "metrics": metrics, "samples": len(found.returns)}


if __name__ == "__main__":
    main(*sys.argv[1:])
