"""Counts are rolled up and never change; a million occurrences keep the list quick."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import func, insert, select

from homeostat.clock import new_id, utcnow
from homeostat.incidents import retention, views
from homeostat.incidents.counting import total
from homeostat.store import database
from homeostat.store.incidents import Bundle, Incident, OccurrenceCount
from tests.component.incidents.scenes import fail, now_of


def counted(incident: Incident, days: int, per_slice: int = 3) -> int:
    """Add minute slices over the last days, as reports would have; return their sum."""
    now = utcnow().replace(second=0, microsecond=0)
    starts = [now - timedelta(minutes=17 * step) for step in range(1, days * 85)]
    with database.transaction() as session:
        session.execute(
            insert(OccurrenceCount),
            [
                {
                    "incident_id": incident.id,
                    "component": "shop",
                    "width_s": 60,
                    "starts_at": at,
                    "count": per_slice,
                    "first_at": at,
                    "last_at": at + timedelta(seconds=30),
                }
                for at in starts
            ],
        )
    return per_slice * len(starts)


@pytest.mark.usefixtures("store")
def test_a_roll_up_keeps_the_sum_and_drops_the_rows() -> None:
    incident = fail()
    added = counted(incident, days=40)
    with database.reading() as session:
        before = session.scalar(select(func.count()).select_from(OccurrenceCount)) or 0
    for _ in range(4):
        with database.transaction() as session:
            retention.run(session)
    with database.reading() as session:
        after = session.scalar(select(func.count()).select_from(OccurrenceCount)) or 0
        assert total(session, incident.id) == added + 1
        widths = {width for _, width, _ in retention.slices(session, incident.id)}
    assert after < before / 3
    assert widths == {60, 3_600, 86_400}
    with database.transaction() as session:
        assert retention.run(session).rolled_up == 0


@pytest.mark.usefixtures("sqlite_store")
def test_what_is_old_is_forgotten_and_what_is_open_is_not() -> None:
    old, kept = fail(kind="Old"), fail(kind="Kept")
    with database.transaction() as session:
        row = session.get_one(Incident, old.id)
        row.resolved_at, row.state = utcnow() - timedelta(days=100), "resolved"
    with database.transaction() as session:
        assert retention.run(session).bundles == 1
        session.get_one(Incident, old.id).resolved_at = utcnow() - timedelta(days=500)
    with database.transaction() as session:
        assert retention.run(session).incidents == 1
    with database.reading() as session:
        assert session.get(Incident, old.id) is None
        assert session.get(Bundle, (kept.id, 1)) is not None
    assert now_of(kept).resolved_at is None


@pytest.mark.usefixtures("sqlite_store")
def test_a_million_occurrences_keep_the_list_under_50_ms() -> None:
    first = fail()
    with database.transaction() as session:
        pattern = {
            column.key: getattr(session.get_one(Incident, first.id), column.key)
            for column in Incident.__table__.columns
        }
        rows = [
            pattern | {"id": new_id(), "group_key": f"key-{n}", "occurrences": 500,
                       "resolved_at": utcnow() if n % 10 else None}
            for n in range(2_000)
        ]  # fmt: skip
        session.execute(insert(Incident), rows)
        # 500 slices each, as a busy month leaves them: a million occurrences.
        for row in rows[:40]:
            now = utcnow()
            session.execute(
                insert(OccurrenceCount),
                [
                    {"incident_id": row["id"], "component": "shop", "width_s": 60, "count": 50,
                     "starts_at": now - timedelta(minutes=n), "first_at": now, "last_at": now}
                    for n in range(500)
                ],
            )  # fmt: skip
    with database.reading() as session:
        occurrences = session.scalar(select(func.sum(Incident.occurrences))) or 0
        slices = session.scalar(select(func.sum(OccurrenceCount.count))) or 0
        assert occurrences >= 1_000_000
        assert slices >= 1_000_000
        views.incidents(session, limit=100)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            assert len(views.incidents(session, limit=100)) == 100
            assert len(views.incidents(session, resolved=False, limit=100)) == 100
            times.append((time.perf_counter() - began) / 2)
    assert sorted(times)[len(times) // 2] < 0.050
