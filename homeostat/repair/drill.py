"""The seed cases as a drill: two defects in a copy of the platform's own source, mended twice.

The first is the audit log's `append` without its `subsystem` parameter, the second the models
module without an export that the migrations import. The copy has no history, so that the agent
has to find out, and the second round has to come from knowledge.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeostat.errors import HomeostatError
from homeostat.repair.agent import Apply, Options, RepairOutcome, fix
from homeostat.repair.knowledge import Knowledge
from homeostat.repair.proof.prover import Depth

_SOURCE = Path(__file__).parents[1]
_LOG = "homeostat/kernels/immutable_log.py"
_MODELS = "homeostat/store/models.py"

_APPEND = """
from types import SimpleNamespace
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from homeostat.kernels.immutable_log import ImmutableLog
from homeostat.store import audit
from homeostat.store.base import Base
engine = create_engine("sqlite://")
Base.metadata.create_all(engine)
with Session(engine) as session:
    if session.get(audit.AuditHead, 1) is None:
        session.add(audit.AuditHead(id=1, sequence=0, row_hash=audit.GENESIS))
        session.flush()
    log = ImmutableLog(SimpleNamespace())
    row = log.append(session, actor="drill", action="seed", resource="x", subsystem="repair")
    assert row.subsystem == "repair", row.subsystem
"""
_IMPORT = """
from homeostat.store.models import Base
assert "audit_log" in Base.metadata.tables
"""


@dataclass(frozen=True)
class Seed:
    """One injected defect: where, what is cut, and a program that shows it."""

    name: str
    path: str
    cuts: tuple[str, ...]
    program: str


SEEDS = (
    Seed(
        "immutable_log.append without its subsystem parameter",
        _LOG,
        ('        subsystem: str = "",\n', "            subsystem=subsystem,\n"),
        _APPEND,
    ),
    Seed(
        "the models module without its export",
        _MODELS,
        ("from homeostat.store.base import Base\n",),
        _IMPORT,
    ),
)


class DrillError(HomeostatError):
    """The drill cannot be laid out: the source is not as the seed expects it."""


def _git(repository: Path, *words: str) -> None:
    identity = ("-c", "user.name=drill", "-c", "user.email=drill@localhost")
    subprocess.run(
        ["git", *identity, *words], cwd=repository, check=True, capture_output=True, timeout=60
    )


def inject(repository: Path, seed: Seed) -> None:
    """Cut a seed's lines out of the copy; raises DrillError where they are not there."""
    file = repository / seed.path
    text = file.read_text(encoding="utf-8")
    for cut in seed.cuts:
        if text.count(cut) != 1:
            raise DrillError(f"{seed.path} does not hold {cut.strip()!r} once; adapt the seed.")
        text = text.replace(cut, "")
    file.write_text(text, encoding="utf-8")


def lay_out(repository: Path) -> None:
    """Copy the platform's own source and inject both defects, in one commit without a past."""
    shutil.copytree(
        _SOURCE, repository / "homeostat", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    for number, seed in enumerate(SEEDS):
        inject(repository, seed)
        (repository / f"seed_{number}.py").write_text(seed.program, encoding="utf-8")
    _git(repository, "init", "-q")
    _git(repository, "add", "-A")
    _git(repository, "commit", "-q", "-m", "The platform, with the two seed defects")


def repairs(folder: Path) -> Iterator[tuple[Seed, RepairOutcome]]:
    """Mend both seeds in a copy under `folder`, then inject them again and mend them once more."""
    repository = folder / "platform"
    repository.mkdir()
    lay_out(repository)
    options = Options(
        apply=Apply.APPROVED,
        knowledge=Knowledge.at(folder / "knowledge.sqlite3"),
        depth=Depth(suite=False),
    )
    # A seed may hide the other, so the second round puts each back alone.
    for number, seed in enumerate(SEEDS):
        yield seed, fix(repository, f"{sys.executable} seed_{number}.py", options)
    for number, seed in enumerate(SEEDS):
        inject_again(repository, seed)
        yield seed, fix(repository, f"{sys.executable} seed_{number}.py", options)


def inject_again(repository: Path, seed: Seed) -> None:
    """Put a seed's broken file back as it was in the first commit."""
    first = subprocess.run(
        ["git", "rev-list", "--max-parents=0", "HEAD"],
        cwd=repository, check=True, capture_output=True, text=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    _git(repository, "checkout", "-q", first, "--", seed.path)
    _git(repository, "commit", "-q", "--allow-empty", "-m", f"Again: {seed.name}")


def seed_drill() -> dict[str, Any]:
    """Run the drill; returns `fixes`, `repeat` and `call_sites_changed` (files besides the two)."""
    with tempfile.TemporaryDirectory(prefix="homeostat-drill-") as scratch:
        rounds = list(repairs(Path(scratch)))
    half = len(SEEDS)
    touched = {
        path
        for seed, outcome in rounds
        if outcome.chosen is not None
        for path in outcome.chosen.candidate.changes
        if path != seed.path
    }
    return {
        "fixes": [_shown(seed, outcome) for seed, outcome in rounds[:half]],
        "repeat": [_shown(seed, outcome) for seed, outcome in rounds[half:]],
        "call_sites_changed": sorted(touched),
    }


def _shown(seed: Seed, outcome: RepairOutcome) -> dict[str, Any]:
    chosen = outcome.chosen
    return {
        "seed": seed.name,
        "file": seed.path,
        "kind": chosen.candidate.defect.value if chosen else "",
        "status": outcome.status.value,
        "from_knowledge": outcome.from_knowledge,
        "signature": outcome.signature,
        "replay_key": outcome.replay_key,
        "failure": outcome.failure,
        "diff": chosen.diff if chosen else "",
        "proof": chosen.proof.as_json() if chosen else None,
        "refused": [f"{item.candidate.title} → {item.proof.refusal}" for item in outcome.refused],
        "seconds": round(outcome.seconds, 3),
    }
