"""Prometheus metrics, read from the store at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from homeostat.api import auth
from homeostat.api.refusals import ANY
from homeostat.clock import utcnow
from homeostat.store import approvals, database, jobs
from homeostat.store.audit import AuditHead
from homeostat.store.incidents import Incident
from homeostat.supervision.overview import ORDER, overview

router = APIRouter()


class StoreCollector(Collector):
    """Reads the figures from one session."""

    def __init__(self, session: Session) -> None:
        """Take the session; it is read from once."""
        self._session = session

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._components()
        yield from self._incidents()
        stand = GaugeMetricFamily("homeostat_jobs", "Job rows by state.", labels=["state"])
        for state, count in jobs.counts(self._session).items():
            stand.add_metric([state], count)
        yield stand
        waiting = len(approvals.waiting(self._session))
        yield GaugeMetricFamily("homeostat_approvals_waiting", "Approvals that wait.", waiting)
        head = self._session.get(AuditHead, 1)
        rows = head.sequence if head else 0
        yield CounterMetricFamily("homeostat_audit_rows", "Rows in the audit log.", rows)

    def _components(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "homeostat_component_state",
            "1 for the state that the component is in, 0 for the others.",
            labels=["component", "state"],
        )
        age = GaugeMetricFamily(
            "homeostat_component_proof_age_seconds",
            "Seconds since the component last proved its work.",
            labels=["component"],
        )
        now = utcnow()
        for view in overview(self._session, now):
            for known in ORDER:
                state.add_metric([view.name, known], view.state is known)
            if view.lease is not None and view.lease.renewed_at is not None:
                age.add_metric([view.name], (now - view.lease.renewed_at).total_seconds())
        yield state
        yield age

    def _incidents(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "homeostat_open_incidents",
            "Incidents that are not resolved.",
            labels=["severity", "state"],
        )
        rows = self._session.execute(
            select(Incident.severity, Incident.state, func.count())
            .where(Incident.resolved_at.is_(None))
            .group_by(Incident.severity, Incident.state)
        )
        for severity, state, count in rows:
            family.add_metric([severity, state], count)
        yield family


@router.get(
    "/metrics",
    dependencies=[Depends(auth.BEARER), Depends(auth.require)],
    response_class=PlainTextResponse,
    responses=ANY,
    tags=["metrics"],
)
def metrics() -> Response:
    """All metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    with database.reading() as session:
        registry.register(StoreCollector(session))
        text = generate_latest(registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
