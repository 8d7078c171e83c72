"""The defects that a drill injects: lines that are cut out of the copy, or a file that moves."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from homeostat.errors import HomeostatError


class DrillError(HomeostatError):
    """The drill cannot be laid out: the source is not as its seeds expect it."""


@dataclass(frozen=True)
class Seed:
    """One injected defect, and how it shows.

    `cuts` are texts that each occur once in `path`; `moved_to` is where the file goes instead of
    being cut. `command` fails with the defect and passes without it; `needs` are files that are
    laid into the copy beside the source, for the command. `component` is the component that does
    not boot, where one does not.
    """

    name: str
    path: str
    command: str
    error: str
    component: str = ""
    cuts: tuple[str, ...] = ()
    moved_to: str = ""
    needs: dict[str, str] = field(default_factory=dict)

    def inject(self, repository: Path) -> None:
        """Damage the copy; raises DrillError where the source is not as it was."""
        file = repository / self.path
        if not file.is_file():
            raise DrillError(f"The source has no {self.path}; adapt the seed {self.name!r}.")
        if self.moved_to:
            file.rename(repository / self.moved_to)
            return
        text = file.read_text(encoding="utf-8")
        for cut in self.cuts:
            if text.count(cut) != 1:
                raise DrillError(f"{self.path} does not hold {cut.strip()!r} once; adapt the seed.")
            text = text.replace(cut, "")
        file.write_text(text, encoding="utf-8")


#: It names the function in which the failure strikes, as a repository's own tests do.
_AGENT_TEST = '''"""What the coding agent did stands in the audit log."""

from types import SimpleNamespace

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from homeostat.kernels.coding_agent import CodingAgent
from homeostat.kernels.immutable_log import ImmutableLog
from homeostat.store import audit
from homeostat.store.base import Base


class Idle(CodingAgent):
    def repair(self, repository, command, options):
        return SimpleNamespace(
            id="1", status=SimpleNamespace(value="none_found"), failure="", commit="",
            chosen=None, verdict=None, refused=(),
        )


def test_a_probe_of_the_coding_agent_is_logged_under_its_name():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        if session.get(audit.AuditHead, 1) is None:
            session.add(audit.AuditHead(id=1, sequence=0, row_hash=audit.GENESIS))
            session.flush()
        log = ImmutableLog(SimpleNamespace())
        Idle(SimpleNamespace(find=lambda name: log)).probe(session)
        row = session.scalars(select(audit.AuditRow)).one()
        assert row.subsystem == "kernels.coding_agent"
'''

PLATFORM = (
    Seed(
        name="immutable_log.append without its subsystem parameter",
        path="homeostat/kernels/immutable_log.py",
        cuts=('        subsystem: str = "",\n', "            subsystem=subsystem,\n"),
        component="kernels.coding_agent",
        error="append() got an unexpected keyword argument 'subsystem'",
        command=f"{sys.executable} -m pytest -x tests/test_coding_agent.py",
        needs={"tests/test_coding_agent.py": _AGENT_TEST},
    ),
    Seed(
        name="the models module without its export async_session",
        path="homeostat/store/models.py",
        cuts=("from homeostat.store.database import async_session\n", ', "async_session"'),
        component="kernels.api_server",
        error="cannot import name 'async_session' from 'homeostat.store.models'",
        command=f'{sys.executable} -c "import homeostat.kernels.api_server"',
    ),
)

_DESK = {
    "desk/__init__.py": '"""A desk that stands on the trading subsystems."""\n',
    "desk/retraining.py": '''"""When a model is trained anew."""


class RetrainingPlan:
    """Enough new samples, and enough time since the last training."""

    def __init__(self, model, data_dir="data", min_samples=50, retrain_interval_hours=24):
        self.model = model
        self.data_dir = data_dir
        self.min_samples = min_samples
        self.retrain_interval_hours = retrain_interval_hours

    def figures(self):
        """Return what the desk's page shows of the plan."""
        return {
            "model": self.model,
            "min_samples": self.min_samples,
            "retrain_interval_hours": self.retrain_interval_hours,
        }
''',
    "desk/start.py": '''"""Opens the desk."""

from desk.retraining import RetrainingPlan


def opened(samples="50", hours="24"):
    """Return the plan, as the environment wants it."""
    return RetrainingPlan(
        model="baseline",
        min_samples=int(samples),
        retrain_interval_hours=int(hours),
    )
''',
    "tests/test_desk.py": '''"""The desk shows the figures that it was given."""

from desk.start import opened


def test_the_plan_keeps_its_own_figures():
    figures = opened(samples="10", hours="2").figures()
    assert figures == {"model": "baseline", "min_samples": 10, "retrain_interval_hours": 2}
''',
}

TRADING = (
    Seed(
        name="position intelligence cannot be imported",
        path="homeostat/trading/position_intelligence.py",
        moved_to="homeostat/trading/position_intelligence_layer.py",
        error="No module named 'homeostat.trading.position_intelligence'",
        command=f'{sys.executable} -c "import homeostat.trading.position_intelligence"',
    ),
    Seed(
        name="a constructor that does not know min_samples and retrain_interval_hours",
        path="desk/retraining.py",
        cuts=(
            ", min_samples=50, retrain_interval_hours=24",
            "        self.min_samples = min_samples\n",
            "        self.retrain_interval_hours = retrain_interval_hours\n",
        ),
        error="__init__() got an unexpected keyword argument 'min_samples'",
        command=f"{sys.executable} -m pytest -x tests/test_desk.py",
        needs=_DESK,
    ),
)
