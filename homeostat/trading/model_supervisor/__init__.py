"""Watches every model: its signals, the outcomes that come later, drift, calibration and bias.

In OBSERVE nothing is blocked; in ENFORCED a one-sided model loses that side until it mends.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.settings import Mode
from homeostat.store import trading as store
from homeostat.store.prepared import Prepared
from homeostat.store.trading import ModelRecord
from homeostat.trading.market import port
from homeostat.trading.model_supervisor import hour, labels
from homeostat.trading.model_supervisor.judging import judge
from homeostat.trading.model_supervisor.labels import Outcome
from homeostat.trading.model_supervisor.rules import FORGET, Tally, blocked_side
from homeostat.trading.model_supervisor.served import count_features
from homeostat.trading.models import drift, features

__all__ = ["ModelSupervisor", "Outcome", "Tally"]

_log = logging.getLogger(__name__)


_RECORDS = ModelRecord.__table__.c
#: What the flow is told of a model that it has had counted.
_TOLD = ("blocked_side", "judged_longs", "judged_shorts", "recent_longs", "recent_shorts")
_COUNT = Prepared(
    update(ModelRecord.__table__)  # type: ignore[arg-type]  # a model's table is a Table at run time
    .where(_RECORDS.model == bindparam("name"))
    .values(
        longs=_RECORDS.longs + bindparam("more_longs"),
        shorts=_RECORDS.shorts + bindparam("more_shorts"),
        recent_longs=FORGET * _RECORDS.recent_longs + bindparam("more_longs"),
        recent_shorts=FORGET * _RECORDS.recent_shorts + bindparam("more_shorts"),
        updated_at=bindparam("now"),
    )
    .returning(*(getattr(_RECORDS, name) for name in _TOLD))
)


class ModelSupervisor(Component):
    """Watches every model's signals and outcomes."""

    spec = ComponentSpec(
        name="model_supervisor",
        wing=Wing.TRADING,
        tier=6,
        summary="Watches every model's signals and outcomes, and blocks a biased side.",
    )

    def observe(
        self, session: Session, model: str, longs: int, shorts: int, abstained: Mapping[str, int]
    ) -> ModelRecord:
        """Count one batch of signals."""
        record = self._record(session, model)
        record.longs += longs
        record.shorts += shorts
        record.recent_longs = FORGET * record.recent_longs + longs
        record.recent_shorts = FORGET * record.recent_shorts + shorts
        counts = dict(record.abstained)
        for reason, count in abstained.items():
            counts[reason] = counts.get(reason, 0) + count
        record.abstained, record.updated_at = counts, utcnow()
        session.flush()
        return record

    def count(
        self, session: Session, model: str, longs: int, shorts: int, abstained: Mapping[str, int]
    ) -> Tally:
        """Count one batch of signals and return the side that is blocked, with what it rests on.

        The flow asks this every cycle: where nobody abstained, one statement does it.
        """
        if not abstained:
            counted = {"name": model, "more_longs": longs, "more_shorts": shorts, "now": utcnow()}
            if told := _COUNT.rows(session, **counted):
                return self._tally(model, *told[0])
        record = self.observe(session, model, longs, shorts, abstained)
        return self._tally(model, *(getattr(record, name) for name in _TOLD))

    def _tally(
        self,
        model: str,
        side: int,
        judged_longs: float | None,
        judged_shorts: float | None,
        longs: float,
        shorts: float,
    ) -> Tally:
        judged = None
        if judged_longs is not None and judged_shorts is not None:
            judged = judged_longs, judged_shorts
        enforced = self.context.settings.mode is Mode.ENFORCED
        return Tally(side if enforced else 0, model, enforced, judged, (longs, shorts))

    def blocked(self, session: Session, model: str) -> int:
        """Return the side that the model must not take now, or 0; only ENFORCED blocks."""
        record = session.get(ModelRecord, model)
        enforced = self.context.settings.mode is Mode.ENFORCED
        return record.blocked_side if record is not None and enforced else 0

    def learn(self, session: Session, outcome: Outcome) -> bool:
        """Take in a delayed label, once; False where it is known already."""
        if not labels.keep(session, outcome):
            return False
        if not labels.count(session, outcome):
            self._record(session, outcome.model)
            labels.count(session, outcome)
        return True

    def judge(self, session: Session, record: ModelRecord) -> None:
        """Set the record's loss, calibration, drift, bias, health and rank anew."""
        judge(session, record)

    def _record(self, session: Session, model: str) -> ModelRecord:
        record = session.get(ModelRecord, model, with_for_update=True)
        if record is None:
            zeros = dict.fromkeys(("longs", "shorts", "outcomes", "wins", "blocked_side"), 0)
            faded = ("recent_longs", "recent_shorts")
            sums = dict.fromkeys(("sum_r", "gross_profit", "gross_loss", *faded), 0.0)
            record = ModelRecord(model=model, health="UNKNOWN", drift={}, abstained={})
            for name, value in {**zeros, **sums}.items():
                setattr(record, name, value)
            session.add(record)
            session.flush()
        return record

    def probe(self, session: Session) -> Evidence:
        """Plant a one-sided model, a fair one, and a drift; see the first and last found."""
        watch = Stopwatch()
        savepoint = session.begin_nested()
        name = f"probe-{new_id()[-8:]}"
        record = self.observe(session, name, 80, 20, {})
        self.judge(session, record)
        biased = record.blocked_side
        savepoint.rollback()
        fair = blocked_side(52, 48)
        steady = [0.2, 0.25] * 60
        moved = steady + [0.9] * 60
        drifts = bool(drift.adwin(moved)) and bool(drift.page_hinkley(moved))
        false_alarm = bool(drift.adwin(steady)) or bool(drift.page_hinkley(steady))
        return Evidence(
            claim="a planted bias and a planted drift are found, and a fair model is left alone",
            passed=biased == 1 and fair == 0 and drifts and not false_alarm,
            observed={"biased": biased, "fair": fair, "drift": drifts, "false_alarm": false_alarm},
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Judge every model on its persisted counts and outcomes."""
        panel = port.market(self.context.settings).panel(due_at, features.INPUT_BARS)
        served = drift.population(panel) if port.age_s(panel, due_at) <= port.FRESH_S else None
        records = session.scalars(select(ModelRecord)).all()
        for record in records:
            if served is not None:
                count_features(session, record, served)
            self.judge(session, record)
        version = store.acknowledge(session, self.spec.full_name)
        models = {
            record.model: {
                "signals": record.longs + record.shorts,
                "outcomes": record.outcomes,
                "health": record.health,
                "blocked_side": record.blocked_side,
                "drift": record.drift.get("found_at"),
                "shifted_features": list(record.drift.get("shifted", ())),
                "rank": record.rank,
                "abstained": sum(record.abstained.values()),
            }
            for record in records
        }
        observed: dict[str, JsonValue] = {
            "mode": self.context.settings.mode,
            "models": dict(models),
            "directive": version,
        }
        if hour.is_due(due_at):
            observed["hour"] = told = hour.summary(session, due_at)
            _log.info("the models' last hour: %s", told)
        return CycleResult(work=1 + len(records), observed=observed)
