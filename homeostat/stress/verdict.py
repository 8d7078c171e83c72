"""From facts to a verdict: one rule per section, each naming who, what and how bad.

The rules know nothing of how the facts were gathered. What was not looked at (`None`, an empty
table) is a `NotTested`, never a pass. A required NOT TESTED makes the report INCONCLUSIVE
whatever else was found; the findings stand beside it and the risk line counts the proven ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from homeostat.chaos.scenario import Outcome, ScenarioResult
from homeostat.component import State
from homeostat.stress.report import (
    CadenceRow,
    ComponentRow,
    Facts,
    Finding,
    NotTested,
    Quantiles,
    Verdict,
)

#: The flow's nine hooks, in the order of `spec/trading.md`'s trade flow.
HOOKS = 9
#: Without these no verdict is possible: a child, a main process and the broker killed.
REQUIRED_SCENARIOS = ("P1", "P2", "B1")
#: More late ticks than this share of an entry's expected ones is a loop that does not keep up.
MOST_LATE = 0.1

Said = Iterator[Finding | NotTested]


@dataclass(frozen=True)
class Judgement:
    """The verdict and everything that it rests on."""

    verdict: Verdict
    findings: list[Finding]
    not_tested: list[NotTested]


def judge(facts: Facts) -> Judgement:
    """Apply every rule to the facts."""
    said = [one for rule in RULES for one in rule(facts)]
    findings = [one for one in said if isinstance(one, Finding)]
    not_tested = [one for one in said if isinstance(one, NotTested)]
    return Judgement(_verdict(findings, not_tested), findings, not_tested)


def _verdict(findings: list[Finding], not_tested: list[NotTested]) -> Verdict:
    weights = {finding.weight for finding in findings}
    if any(row.required for row in not_tested) or Verdict.INCONCLUSIVE in weights:
        return Verdict.INCONCLUSIVE
    if Verdict.UNSTABLE in weights:
        return Verdict.UNSTABLE
    return Verdict.DEGRADED if weights else Verdict.STABLE


def _boot(facts: Facts) -> Said:
    if facts.boot is None:
        yield _untested("boot", "the boot was not observed")
        return
    for row in (*facts.boot.components, *facts.boot.subsystems):
        if row.state != State.RUNNING:
            what = f"booted {row.state} after {row.tries} tries: {row.error or 'no reason given'}"
            yield Finding(culprit=row.name, what=what, weight=Verdict.DEGRADED, section="boot")


def _components(facts: Facts) -> Said:
    if not facts.components:
        yield _untested("components", "no component was observed")
    for name in facts.unscheduled:
        yield Finding(
            culprit=name,
            what="no beat entry checks it",
            weight=Verdict.DEGRADED,
            section="components",
        )
    for row in facts.components:
        yield from _component(row)


def _component(row: ComponentRow) -> Said:
    if row.state is State.UNKNOWN:
        yield _untested(f"components: {row.name}", f"its state is UNKNOWN ({row.reason})")
    elif row.state is not State.RUNNING:
        weight = Verdict.UNSTABLE if row.state is State.FAILED else Verdict.DEGRADED
        yield _of(row, f"is {row.state}: {row.reason}", weight)
    yield from _cycles(row)
    if row.probe_can_fail is None:
        yield _untested(f"components: {row.name}: probe", "its probe had no control")
    elif not row.probe_can_fail:
        what = "its probe passes where it must fail, so that nothing it reports is proven"
        yield _of(row, what, Verdict.DEGRADED)


def _cycles(row: ComponentRow) -> Said:
    if row.crashes:
        yield _of(row, f"crashed {row.crashes} times", Verdict.UNSTABLE)
    if row.failed_cycles:
        yield _of(row, f"{row.failed_cycles} cycles failed outside any fault", Verdict.DEGRADED)
    if row.loop_active is None:
        yield _untested(f"components: {row.name}: loop active", "no cycle was observed")
    elif not row.loop_active:
        yield _of(row, "its loop is not active", Verdict.DEGRADED)
    if row.empty_cycles:
        what = f"{row.empty_cycles} of {row.cycles} cycles say nothing of what they did"
        yield _of(row, what, Verdict.DEGRADED)
    if row.cycles and row.left == 0:
        yield _of(row, f"its {row.cycles} cycles left nothing behind", Verdict.DEGRADED)


def _of(row: ComponentRow, what: str, weight: Verdict) -> Finding:
    return Finding(culprit=row.name, what=what, weight=weight, section="components")


def _cadence(facts: Facts) -> Said:
    if not any(row.expected for row in facts.cadence):
        yield _untested("cadence", "no tick was due in the window")
    for row in facts.cadence:
        if row.expected:
            yield from _entry(row)
        elif row.off_grid:
            yield _beat(row, f"ran {row.off_grid} times when it was not due", Verdict.DEGRADED)
        else:
            reason = f"not due: its interval of {row.interval_s:g} s is longer than the window"
            yield _untested(f"cadence: {row.entry}", reason, required=False)


def _entry(row: CadenceRow) -> Said:
    on_grid = row.run - row.off_grid
    if on_grid + row.missed + row.missed_in_fault != row.expected:
        what = (
            f"its ledger does not add up: {row.expected} expected, {on_grid} run, "
            f"{row.missed} missed, {row.missed_in_fault} missed in a fault"
        )
        yield _beat(row, what, Verdict.UNSTABLE)
    if row.missed:
        never = not row.run and not row.missed_in_fault
        what = "never fired" if never else f"missed {row.missed} of {row.expected} ticks"
        yield _beat(row, what, Verdict.UNSTABLE if never else Verdict.DEGRADED)
    if row.doubled:
        yield _beat(row, f"fired {row.doubled} ticks twice", Verdict.DEGRADED)
    if row.off_grid:
        yield _beat(row, f"ran {row.off_grid} times when it was not due", Verdict.DEGRADED)
    if row.overrun:
        what = f"{row.overrun} ticks started only after the next one was due"
        yield _beat(row, what, Verdict.DEGRADED)
    # One late tick inside its own interval is a moment, whatever its share; a loop that does not
    # keep up has more.
    if row.late > max(1, MOST_LATE * row.expected):
        yield _beat(row, f"{row.late} of {row.expected} ticks were late", Verdict.DEGRADED)


def _beat(row: CadenceRow, what: str, weight: Verdict) -> Finding:
    return Finding(culprit=row.entry, what=what, weight=weight, section="cadence")


def _throughput(facts: Facts) -> Said:
    load = facts.throughput
    if load is None or not load.told_ok:
        yield _untested("throughput", "no load was accepted")
        return
    for count, word, keys in (
        (load.lost, "lost", load.lost_keys),
        (load.doubled, "doubled", load.doubled_keys),
    ):
        if count:
            what = f"{count} of {load.told_ok} accepted jobs were {word} ({', '.join(keys[:3])})"
            yield _finding("effects ledger", what, Verdict.UNSTABLE, "throughput")
    if load.drained_s is None:
        yield _finding("queues", "did not drain in time", Verdict.UNSTABLE, "throughput")
    for name, quantiles in load.latency.items():
        yield from _target(name, quantiles, "throughput")


def _target(name: str, quantiles: Quantiles, section: str) -> Said:
    if quantiles.target_ms is not None and quantiles.p99_ms > quantiles.target_ms:
        what = f"p99 {quantiles.p99_ms:.0f} ms is over the target {quantiles.target_ms:.0f} ms"
        yield _finding(name, what, Verdict.DEGRADED, section)


def _exceptions(facts: Facts) -> Said:
    if facts.exceptions is None:
        yield _untested("exceptions", "the incidents were not read")
    for digest in facts.exceptions or ():
        if digest.explained_by:
            continue
        word = "escalating" if digest.escalating else "not escalating"
        what = f"{digest.type} × {digest.count}, {word} ({digest.signature})"
        weight = Verdict.UNSTABLE if digest.escalating else Verdict.DEGRADED
        yield _finding(digest.component, what, weight, "exceptions")
    if facts.logs is None:
        yield _untested("logs", "the logs were not read")
    for line in facts.logs.unaccounted if facts.logs else ():
        what = f"an error stands in the log that no incident accounts for: {line}"
        yield _finding("logs", what, Verdict.DEGRADED, "exceptions")


def _memory(facts: Facts) -> Said:
    if not facts.memory:
        yield _untested("memory", "no process was sampled")
    judged = {row.role for row in facts.memory if row.leaking is not None}
    for role in sorted({row.role for row in facts.memory} - judged):
        yield _untested(f"memory: {role}", "no process of that role lived long enough for a slope")
    for row in facts.memory:
        if row.leaking:
            what = f"grows by {row.slope_mb_per_min:.1f} MB/min ({row.first_mb:.0f} → "
            what += f"{row.last_mb:.0f} MB in {row.seconds:.0f} s)"
            yield _finding(row.process, what, Verdict.DEGRADED, "memory")


def _hooks(facts: Facts) -> Said:
    if len({row.hook for row in facts.hooks}) < HOOKS:
        reason = f"{len(facts.hooks)} of {HOOKS} hooks were looked at"
        yield _untested("hooks", reason)
    for row in facts.hooks:
        if row.fired is None:
            yield _untested(f"hooks: {row.hook}", "no canary trade ran to its end")
        elif not row.fired:
            yield _finding(row.hook, "did not fire in any canary", Verdict.UNSTABLE, "hooks")


def _freshness(facts: Facts) -> Said:
    if not facts.freshness:
        yield _untested("freshness", "no feed was looked at")
    for row in facts.freshness:
        if row.stale is None:
            yield _untested(f"freshness: {row.feed}", row.evidence or "too few snapshots")
        elif row.stale:
            what = f"is stale: {row.distinct} distinct of {row.snapshots} snapshots; {row.evidence}"
            yield _finding(row.feed, what, Verdict.DEGRADED, "freshness")


def _chaos(facts: Facts) -> Said:
    ran = {result.id for result in facts.chaos}
    for missing in (name for name in REQUIRED_SCENARIOS if name not in ran):
        yield _untested(f"chaos: {missing}", "it was not run")
    for result in facts.chaos:
        yield from _scenario(result)


def _scenario(result: ScenarioResult) -> Said:
    row, why = f"chaos: {result.id}", "; ".join(result.reasons) or "no reason was recorded"
    if result.outcome is Outcome.FAIL:
        yield _finding(result.id, f"{result.title}: {why}", Verdict.UNSTABLE, "chaos")
    elif result.outcome is not Outcome.PASS:
        required = result.outcome is Outcome.INVALID or result.id in REQUIRED_SCENARIOS
        yield _untested(row, f"{result.outcome}: {why}", required=required)
    elif result.control is None or not result.control.failed_as_it_must:
        yield _untested(row, "it has no failing control, so that its PASS proves nothing")
    for count, word in ((result.lost, "lost"), (result.doubled, "doubled")):
        if count:
            what = f"{count} effects were {word}"
            yield _finding(result.id, what, Verdict.UNSTABLE, "chaos")


def _incidents(facts: Facts) -> Said:
    found = facts.incidents
    if found is None:
        yield _untested("incidents", "they were not read")
        return
    if not found.drills_raised or found.drills_recognised is None:
        yield _untested("incidents: recognition", "no known failure was raised")
    elif found.drills_recognised < found.drills_raised:
        what = (
            f"{found.drills_raised - found.drills_recognised} of {found.drills_raised} known "
            "failures became no incident: somebody swallows them"
        )
        yield _finding("error recognition", what, Verdict.UNSTABLE, "incidents")
    for name, quantiles in (
        ("failure → incident row", found.failure_to_row),
        ("failure → analysis started", found.failure_to_analysis),
    ):
        if quantiles is None:
            yield _untested(f"incidents: {name}", "no such pair of times was recorded")
        else:
            yield from _target(name, quantiles, "incidents")
    for row in found.rows:
        if not row.explained_by and row.state != "resolved":
            what = f"left the incident {row.label} in state {row.state}"
            yield _finding(row.component, what, Verdict.DEGRADED, "incidents")


def _finding(culprit: str, what: str, weight: Verdict, section: str) -> Finding:
    return Finding(culprit=culprit, what=what, weight=weight, section=section)


def _untested(row: str, reason: str, *, required: bool = True) -> NotTested:
    return NotTested(row=row, reason=reason, required=required)


#: In the order of the report's sections.
RULES: tuple[Callable[[Facts], Said], ...] = (
    _boot,
    _components,
    _cadence,
    _throughput,
    _exceptions,
    _memory,
    _hooks,
    _freshness,
    _chaos,
    _incidents,
)
