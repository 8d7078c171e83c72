from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import JsonValue

from homeostat.chaos.scenario import Outcome, Proof
from homeostat.component import State
from homeostat.stress import conclusion, render
from homeostat.stress.facts import ExceptionDigest, Facts
from homeostat.stress.findings import Verdict
from homeostat.stress.report import EXIT_CODES, Report
from homeostat.stress.verdict import judge
from tests.stress_facts import START, component, green, quantiles


def test_it_is_stable_when_every_row_was_tested_and_held() -> None:
    judgement = judge(green())
    assert judgement.verdict is Verdict.STABLE
    assert judgement.findings == []
    assert judgement.not_tested == []


def test_only_stable_exits_with_zero() -> None:
    assert [verdict for verdict, code in EXIT_CODES.items() if code == 0] == [Verdict.STABLE]
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


def _set(path: str, value: object) -> Callable[[Facts], None]:
    """Return a breakage that sets the field at a dotted path, `chaos.0.outcome`."""

    def breakage(facts: Facts) -> None:
        target: object = facts
        *parents, last = path.split(".")
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else getattr(target, part)
        setattr(target, last, value)

    return breakage


def _digest(facts: Facts) -> None:
    digest = ExceptionDigest(
        signature="x",
        type="ValueError",
        component="trading.ai_hfos",
        count=3,
        first_at=START,
        last_at=START,
        escalating=False,
    )
    facts.exceptions = [digest]


def _not_taken_back(facts: Facts) -> None:
    seen: dict[str, JsonValue] = {"problems": ["start: it does not start"]}
    facts.chaos[0].rolled_back = Proof(claim="gone", held=False, observed=seen, at=START)


BREAKAGES: list[tuple[str, Callable[[Facts], None], Verdict]] = [
    ("kernels.message_bus", _set("boot.components.0.state", "FAILED"), Verdict.DEGRADED),
    ("kernels.message_bus", _set("components.0.state", State.FAILED), Verdict.UNSTABLE),
    ("kernels.message_bus", _set("components.0.empty_cycles", 2), Verdict.DEGRADED),
    ("kernels.message_bus", _set("components.0.left", 0), Verdict.DEGRADED),
    ("kernels.message_bus", _set("components.0.crashes", 1), Verdict.UNSTABLE),
    ("kernels.message_bus", _set("components.0.failed_cycles", 2), Verdict.DEGRADED),
    ("kernels.message_bus", _set("components.0.loop_active", False), Verdict.DEGRADED),
    ("kernels.message_bus", _set("components.0.probe_can_fail", False), Verdict.DEGRADED),
    ("kernels.sandbox", _set("unscheduled", ["kernels.sandbox"]), Verdict.DEGRADED),
    ("kernels.message_bus", _set("cadence.0.doubled", 1), Verdict.DEGRADED),
    ("kernels.message_bus", _set("cadence.0.late", 3), Verdict.DEGRADED),
    ("kernels.message_bus", _set("cadence.0.overrun", 1), Verdict.DEGRADED),
    ("kernels.message_bus", _set("cadence.0.run", 11), Verdict.UNSTABLE),
    ("effects ledger", _set("throughput.lost", 1), Verdict.UNSTABLE),
    ("effects ledger", _set("throughput.doubled", 1), Verdict.UNSTABLE),
    ("queues", _set("throughput.drained_s", None), Verdict.UNSTABLE),
    (
        "row → effect",
        _set("throughput.latency", {"row → effect": quantiles(2500)}),
        Verdict.DEGRADED,
    ),
    ("trading.ai_hfos", _digest, Verdict.DEGRADED),
    ("logs", _set("logs.unaccounted", ["Traceback"]), Verdict.DEGRADED),
    ("main", _set("memory.0.leaking", True), Verdict.DEGRADED),
    ("hook 4", _set("hooks.4.fired", 0), Verdict.UNSTABLE),
    ("market", _set("freshness.0.stale", True), Verdict.DEGRADED),
    ("P2", _set("chaos.1.outcome", Outcome.FAIL), Verdict.UNSTABLE),
    ("B1", _set("chaos.2.doubled", 1), Verdict.UNSTABLE),
    ("P1", _not_taken_back, Verdict.DEGRADED),
    ("error recognition", _set("incidents.drills_recognised", 19), Verdict.UNSTABLE),
    (
        "failure → analysis started",
        _set("incidents.failure_to_analysis", quantiles(2001)),
        Verdict.DEGRADED,
    ),
]


@pytest.mark.parametrize(("culprit", "breakage", "verdict"), BREAKAGES)
def test_each_breakage_costs_the_verdict_and_names_its_culprit(
    culprit: str, breakage: Callable[[Facts], None], verdict: Verdict
) -> None:
    facts = green()
    breakage(facts)
    judgement = judge(facts)
    assert judgement.verdict == verdict
    assert culprit in {finding.culprit for finding in judgement.findings}


UNTESTED: list[tuple[str, Callable[[Facts], None]]] = [
    ("boot", _set("boot", None)),
    ("components", _set("components", [])),
    ("components: kernels.message_bus", _set("components.0.state", State.UNKNOWN)),
    ("components: kernels.message_bus: probe", _set("components.0.probe_can_fail", None)),
    ("cadence", _set("cadence", [])),
    ("throughput", _set("throughput", None)),
    ("throughput", _set("throughput.told_ok", 0)),
    ("exceptions", _set("exceptions", None)),
    ("logs", _set("logs", None)),
    ("memory", _set("memory", [])),
    ("memory: main", _set("memory.0.leaking", None)),
    ("hooks", _set("hooks", [])),
    ("hooks: hook 3", _set("hooks.3.fired", None)),
    ("freshness", _set("freshness", [])),
    ("chaos: P1", _set("chaos", [])),
    ("chaos: P1", _set("chaos.0.outcome", Outcome.INVALID)),
    ("chaos: P1", _set("chaos.0.outcome", Outcome.SKIPPED)),
    ("chaos: P1", _set("chaos.0.control", None)),
    ("chaos: P1", _set("chaos.0.control.failed_as_it_must", False)),
    ("incidents", _set("incidents", None)),
    ("incidents: recognition", _set("incidents.drills_raised", None)),
]


@pytest.mark.parametrize(("row", "breakage"), UNTESTED)
def test_a_required_row_without_evidence_makes_the_report_inconclusive(
    row: str, breakage: Callable[[Facts], None]
) -> None:
    facts = green()
    breakage(facts)
    judgement = judge(facts)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert row in {one.row for one in judgement.not_tested if one.required}


def test_an_entry_that_never_fired_is_unstable() -> None:
    facts = green()
    row = facts.cadence[0]
    row.run, row.missed = 0, row.expected
    judgement = judge(facts)
    assert judgement.verdict is Verdict.UNSTABLE
    assert [finding.what for finding in judgement.findings] == ["never fired"]


def test_ten_cycles_where_five_were_due_are_no_success() -> None:
    facts = green()
    row = facts.cadence[1]
    row.expected, row.run, row.off_grid = 5, 10, 5
    judgement = judge(facts)
    assert judgement.verdict is Verdict.DEGRADED
    assert judgement.findings[0].culprit == "trading.ai_hfos"


def test_a_tick_missed_inside_a_declared_fault_is_accounted_for() -> None:
    facts = green()
    row = facts.cadence[0]
    row.run, row.missed_in_fault = 11, 1
    assert judge(facts).verdict is Verdict.STABLE


def test_an_entry_that_was_not_due_is_said_to_be_not_tested_and_not_required() -> None:
    facts = green()
    facts.cadence[0].expected = facts.cadence[0].run = 0
    judgement = judge(facts)
    assert judgement.verdict is Verdict.STABLE
    assert [row.row for row in judgement.not_tested] == ["cadence: kernels.message_bus"]


def test_a_proven_failure_is_named_even_when_the_report_is_inconclusive() -> None:
    facts = green()
    facts.hooks = []
    facts.chaos[0].outcome = Outcome.FAIL
    report = conclusion.conclude(facts)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.grade.startswith("none")
    assert "HIGH: 1 proven" in report.risk


def test_suggestions_follow_from_the_figures() -> None:
    facts = green()
    facts.chaos[0].heal_s = 19.0
    facts.components.append(component("trading.universe_os"))
    facts.components[-1].left = 0
    suggestions = conclusion.conclude(facts).hardening
    assert [s.priority for s in suggestions] == ["HIGH", "MEDIUM"]
    assert "trading.universe_os" in suggestions[0].what
    assert "19.0 s of 20 s" in suggestions[1].why


def test_the_comparison_is_with_the_newest_older_run(tmp_path: Path) -> None:
    for name, seconds in (("a", 1.0), ("b", 2.0), ("z", 9.0)):
        facts = green()
        facts.id = name
        assert facts.boot is not None
        facts.boot.seconds = seconds
        render.write(conclusion.conclude(facts), tmp_path / name)
    previous = conclusion.load_previous(tmp_path, before="c")
    assert previous is not None
    assert previous.id == "b"
    report = conclusion.conclude(green(), previous)
    assert report.comparison is not None
    boot = next(c for c in report.comparison.changes if c.figure == "boot seconds")
    assert (boot.before, boot.now) == (2.0, 3.0)


def test_the_json_holds_the_promised_keys() -> None:
    keys = json.loads(conclusion.conclude(green()).model_dump_json()).keys()
    promised = "verdict input boot cadence components hooks chaos incidents throughput memory"
    assert {*promised.split(), "not_tested"} <= keys


def test_all_three_files_say_not_tested_where_nobody_looked(tmp_path: Path) -> None:
    facts = green()
    facts.components[0].probe_can_fail = None
    files = render.write(conclusion.conclude(facts), tmp_path)
    assert "NOT TESTED" in files.markdown.read_text()
    page = files.html.read_text()
    assert 'class="untested">NOT TESTED' in page
    assert page.count("<svg") >= 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert Report.model_validate_json(files.json.read_bytes()).verdict is Verdict.INCONCLUSIVE


def test_html_escapes_what_an_exception_says(tmp_path: Path) -> None:
    facts = green()
    facts.components[0].state, facts.components[0].reason = State.FAILED, "<script>x</script>"
    page = render.write(conclusion.conclude(facts), tmp_path).html.read_text()
    assert "<script>x" not in page
