"""The seed drill: the platform with two defects, booted, mended, broken again, mended at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from homeostat.repair.agent import Apply, Options, RepairOutcome, fix
from homeostat.repair.drill.arrivals import Arrivals
from homeostat.repair.drill.expectation import (
    Expectation,
    mended,
    replayed,
    shown,
    within_limits,
)
from homeostat.repair.drill.patient import Patient
from homeostat.repair.drill.seeds import PLATFORM, Seed
from homeostat.repair.knowledge import Knowledge
from homeostat.store.audit import AuditRow
from homeostat.store.embedded import EmbeddedServer
from homeostat.store.incidents import Incident
from homeostat.store.jobs import Job

QUEUE, PRIORITY = "fix_analysis", 10
#: The seed report's own figure.
DISPATCHED_WITHIN_S = 2.0
KERNELS = 20

_EFFECT = """
from homeostat import registry
from homeostat.store.database import transaction
with transaction() as session:
    registry.find("kernels.immutable_log").append(
        session, actor="drill", action="drill.effect", resource="seed", subsystem="seed_drill"
    )
"""


@dataclass(frozen=True)
class Look:
    """What a boot of the patient left: its report, and the incidents of the seeds' components."""

    report: dict[str, Any]
    incidents: list[dict[str, Any]]

    @property
    def short(self) -> dict[str, Any]:
        """The boot in a few figures, with every component that does not run."""
        rows = self.report["components"]
        return {
            "running": self.report["running"],
            "total": self.report["total"],
            "seconds": self.report["seconds"],
            "not_running": {
                row["name"]: {"state": row["state"], "error": row["error"]}
                for row in rows
                if row["state"] != "RUNNING"
            },
            "subsystems_running": sum(
                row["state"] == "RUNNING" for row in self.report["subsystems"]
            ),
            "subsystems": len(self.report["subsystems"]),
        }


def drill() -> dict[str, Any]:
    """Run the drill; `held` says whether all was as expected, `within_limits` whether in time.

    `expectations` says it of each. Raises DrillError where it cannot be laid out on this source.
    """
    with tempfile.TemporaryDirectory(prefix="homeostat-drill-") as scratch:
        folder = Path(scratch)
        patient = Patient(folder, PLATFORM)
        patient.lay_out()
        knowledge = Knowledge.at(folder / "knowledge.sqlite3")
        with EmbeddedServer(patient.settings):
            before = look(patient)
            fixes = _mend(patient, knowledge, before.incidents)
            call_sites = [path for path in patient.changed() if path not in _paths(PLATFORM)]
            after = look(patient)
            effect = _effect(patient)
        patient.injure_again()
        patient.fresh_state()
        with EmbeddedServer(patient.settings):
            again = look(patient)
            repeat = _mend(patient, knowledge, again.incidents)
    expectations = [
        *_of_boot(before),
        *_of_incidents(before.incidents),
        *_of_fixes(fixes, call_sites, effect),
        *_of_boot_after(after),
        *_of_repeat(before, again, repeat),
    ]
    return {
        "held": all(one.held for one in expectations),
        "within_limits": within_limits(expectations),
        "boot_before": before.short,
        "incidents": before.incidents,
        "fixes": [shown(seed, outcome) for seed, outcome in fixes],
        "effect": effect,
        "call_sites_changed": call_sites,
        "boot_after": after.short,
        "again": {"boot": again.short, "incidents": again.incidents},
        "repeat": [shown(seed, outcome) for seed, outcome in repeat],
        "expectations": [one.as_json() for one in expectations],
    }


def _paths(seeds: Sequence[Seed]) -> set[str]:
    return {seed.path for seed in seeds}


def look(patient: Patient) -> Look:
    """Boot the patient, and watch from outside what is sent to the fix-analysis queue."""
    with Arrivals(str(patient.settings.redis_socket), QUEUE) as arrivals:
        report = patient.boot()
    sent = {str(one.kwargs.get("incident_id")): one for one in arrivals.found}
    failed = {row["incident"] for row in report["components"] if row["incident"]}
    with patient.reading() as session:
        rows = session.scalars(select(Incident).where(Incident.id.in_(failed))).all()
        jobs = session.scalars(select(Job).where(Job.queue == QUEUE)).all()
    incidents = []
    for row in sorted(rows, key=lambda row: row.id):
        job = next((one for one in jobs if one.kwargs.get("incident_id") == row.id), None)
        arrival = sent.get(row.id)
        late = (arrival.at - row.first_seen_at).total_seconds() if arrival else None
        incidents.append(
            {
                "id": row.id,
                "signature": row.label,
                "group_key": row.group_key,
                "component": row.component,
                "error": f"{row.type.removeprefix('builtins.')}: {row.message}",
                "task": job.task if job else None,
                "queue": job.queue if job else None,
                "priority": job.priority if job else None,
                "broker_priority": arrival.broker_priority if arrival else None,
                "dispatched_after_s": None if late is None else round(late, 3),
            }
        )
    return Look(report, incidents)


def _mend(
    patient: Patient, knowledge: Knowledge, incidents: Sequence[dict[str, Any]]
) -> list[tuple[Seed, RepairOutcome]]:
    """Mend each seed; the drill is the person that approves what the evidence does not cover."""
    ids = {item["component"]: item["id"] for item in incidents}
    mended = []
    for seed in patient.seeds:
        incident_id = str(ids.get(seed.component, ""))
        options = Options(apply=Apply.APPROVED, knowledge=knowledge, incident_id=incident_id)
        mended.append((seed, fix(patient.repository, seed.command, options)))
    return mended


def _effect(patient: Patient) -> dict[str, Any]:
    """Append with the parameter in one process, and read the row back in another."""
    done = patient.python("-c", _EFFECT)
    with patient.reading() as session:
        row = session.scalar(select(AuditRow).where(AuditRow.action == "drill.effect"))
    return {
        "appended": done.returncode == 0,
        "subsystem_read_back": row.subsystem if row else None,
        "error": done.stderr.strip()[-300:],
    }


def _of_boot(look: Look) -> list[Expectation]:
    failed = look.short["not_running"]
    wanted = {seed.component: seed.error for seed in PLATFORM}
    real = all(wanted.get(name, "?") in row["error"] for name, row in failed.items())
    seen = "; ".join(f"{name} {row['state']}: {row['error'][:160]}" for name, row in failed.items())
    count = f"{look.short['running']} of {look.short['total']}"
    return [
        Expectation("boot 18 of 20", count == f"{KERNELS - 2} of {KERNELS}", f"{count}; {seen}"),
        Expectation(
            "the two kernels FAILED by the injected errors",
            set(failed) == set(wanted)
            and real
            and all(row["state"] == "FAILED" for row in failed.values()),
            seen,
        ),
    ]


def _of_incidents(incidents: Sequence[dict[str, Any]]) -> list[Expectation]:
    ids = {item["id"] for item in incidents}
    signatures = {item["signature"] for item in incidents}
    queued = [(item["queue"], item["priority"]) for item in incidents]
    late = [item["dispatched_after_s"] for item in incidents]
    return [
        Expectation(
            "two incidents with different ids and signatures",
            len(incidents) == len(ids) == len(signatures) == len(PLATFORM),
            ", ".join(sorted(signatures)),
        ),
        Expectation(
            f"two jobs on {QUEUE} at business priority {PRIORITY}, the broker's highest",
            queued == [(QUEUE, PRIORITY)] * len(PLATFORM)
            and all(item["broker_priority"] == 0 for item in incidents),
            str(queued),
        ),
        Expectation(
            f"dispatched within {DISPATCHED_WITHIN_S:g} s of the failure",
            bool(late) and all(one is not None and one <= DISPATCHED_WITHIN_S for one in late),
            str(late),
            timed=True,
        ),
    ]


def _of_fixes(
    fixes: Sequence[tuple[Seed, RepairOutcome]], call_sites: Sequence[str], effect: dict[str, Any]
) -> list[Expectation]:
    return [
        *(mended(seed, outcome) for seed, outcome in fixes),
        Expectation("the call sites are untouched", not call_sites, str(list(call_sites))),
        Expectation(
            "what is given as `subsystem` is stored and read back",
            effect["subsystem_read_back"] == "seed_drill",
            str(effect["subsystem_read_back"] or effect["error"]),
        ),
    ]


def _of_boot_after(look: Look) -> list[Expectation]:
    count = f"{look.short['running']} of {look.short['total']}"
    seen = f"{count} {look.short['not_running'] or ''}".strip()
    return [Expectation("the next boot: 20 of 20", count == f"{KERNELS} of {KERNELS}", seen)]


def _of_repeat(
    before: Look, again: Look, repeat: Sequence[tuple[Seed, RepairOutcome]]
) -> list[Expectation]:
    first = sorted(item["group_key"] for item in before.incidents)
    second = sorted(item["group_key"] for item in again.incidents)
    return [
        Expectation(
            "the same defects again, in a fresh state: the same signatures",
            bool(first) and first == second,
            ", ".join(str(item["signature"]) for item in again.incidents),
        ),
        *(one for seed, outcome in repeat for one in replayed(seed, outcome)),
    ]
