"""`trade backtest` at a terminal: it says how far it has come, and Ctrl-C ends it in words."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from homeostat.trading.market import generator

NAMES = ("open", "high", "low", "close", "volume")


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    panel = generator.panel(3, symbols=2, bars=4_001)
    columns = [getattr(panel, name)[0, 1:].tolist() for name in NAMES]
    rows = [
        # The same bars again and again.
        [60_000 * (20_000_000 + 4_000 * turn + bar), *cells]
        for turn in range(25)
        for bar, cells in enumerate(zip(*columns, strict=True))
    ]
    path = tmp_path / "X-1m.json"
    path.write_text(json.dumps(rows))
    return path


def read_until(descriptor: int, words: str, seconds: float = 60.0) -> str:
    """Return what a terminal shows up to these words, or to its end."""
    shown, until = "", time.monotonic() + seconds
    while words not in shown and time.monotonic() < until:
        if not select.select([descriptor], [], [], 1.0)[0]:
            continue
        try:
            piece = os.read(descriptor, 4_096)
        except OSError:
            break
        if not piece:
            break
        shown += piece.decode(errors="replace")
    return shown


def heed_ctrl_c() -> None:
    """Undo what a runner in a shell's background hands down: its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_a_backtest_in_one_sentence(long_recording: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "homeostat.cli", "trade", "backtest", "--data"]
    with subprocess.Popen(
        [*command, str(long_recording), "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509  # one call, which takes no lock
    ) as running:
        os.close(theirs)
        seen = read_until(ours, "of 100,000 minutes")
        assert "backtest: " in seen
        running.send_signal(signal.SIGINT)
        told = read_until(ours, "nothing was written.")
        assert running.stdout is not None
        assert running.stdout.read() == b""
        assert running.wait(30) == 130
    os.close(ours)
    assert "homeostat: Stopped after " in told
    assert "Traceback" not in told
