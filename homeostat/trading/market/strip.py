"""The generated strip as one file in the state folder, which every process maps into its memory.

Making it costs 2.5 s of a core. Without the file each pool child would pay that again after every
restart, in the middle of a check that is due every five seconds.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np

from homeostat.trading.market import generator
from homeostat.trading.market.panel import Panel

_COLUMNS = ("open", "high", "low", "close", "volume")


def generated(seed: int, state_dir: Path) -> Panel:
    """Return the strip of that seed: from the file where it stands, else made and kept there."""
    path = _path(seed, state_dir)
    if not path.exists():
        _keep(generator.panel(seed), path)
    # Read-only and mapped: the pages are shared by all processes. The file holds minute after
    # minute, so that the window of a cycle is one stretch of each column.
    whole = np.asarray(np.load(path, mmap_mode="r"))
    listed = generator.instruments(seed)
    times = np.load(path.with_suffix(".times.npy"))
    symbols = tuple(instrument.symbol for instrument in listed)
    return Panel(symbols, times, *(whole[number].T for number in range(len(_COLUMNS))))


def _path(seed: int, state_dir: Path) -> Path:
    # A changed generator makes another strip, and so does another form of the file.
    source = Path(generator.__file__).read_bytes() + Path(__file__).read_bytes()
    return state_dir / "market" / f"{seed}-{hashlib.sha256(source).hexdigest()[:12]}.npy"


def _keep(panel: Panel, path: Path) -> None:
    """Write the times first and the prices last, each in one step, so that no reader sees half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(panel.times, path.with_suffix(".times.npy"))
    _write(np.stack([getattr(panel, name).T for name in _COLUMNS]), path)


def _write(array: np.ndarray, path: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.save(file, array)
    Path(file.name).replace(path)
