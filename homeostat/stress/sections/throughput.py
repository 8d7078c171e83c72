"""What producers were told against the effects found, and how long each path took."""

from __future__ import annotations

from homeostat.stress.facts import Facts, Quantiles
from homeostat.stress.findings import Said, Verdict, finding, untested
from homeostat.stress.layout import NOT_TESTED, Section, Table, quantile_table
from homeostat.stress.report import Report


def judge(facts: Facts) -> Said:
    """Find what was lost or doubled, and paths over their target."""
    load = facts.throughput
    if load is None or not load.told_ok:
        yield untested("throughput", "no load was accepted")
        return
    for count, word, keys in (
        (load.lost, "lost", load.lost_keys),
        (load.doubled, "doubled", load.doubled_keys),
    ):
        if count:
            what = f"{count} of {load.told_ok} accepted jobs were {word} ({', '.join(keys[:3])})"
            yield finding("effects ledger", what, Verdict.UNSTABLE, "throughput")
    if load.drained_s is None:
        yield finding("queues", "did not drain in time", Verdict.UNSTABLE, "throughput")
    for name, quantiles in load.latency.items():
        yield from over_target(name, quantiles, "throughput")


def over_target(name: str, quantiles: Quantiles, section: str) -> Said:
    """Say where a distribution's p99 is over its target."""
    if quantiles.target_ms is not None and quantiles.p99_ms > quantiles.target_ms:
        what = f"p99 {quantiles.p99_ms:.0f} ms is over the target {quantiles.target_ms:.0f} ms"
        yield finding(name, what, Verdict.DEGRADED, section)


def section(report: Report) -> Section:
    """Show the ledger and the latencies."""
    load = report.throughput
    if load is None:
        return Section("Throughput and latency", [NOT_TESTED])
    told = [
        [
            load.told_ok,
            load.told_failed,
            load.told_unknown,
            load.effects,
            load.lost,
            load.doubled,
            load.effects_per_s,
            load.checks_per_s,
            load.drained_s,
        ]
    ]
    headers = [
        "told ok",
        "told failed",
        "told unknown",
        "effects",
        "lost",
        "doubled",
        "effects/s",
        "checks/s",
        "drained s",
    ]
    latency = quantile_table(load.latency.items())
    return Section(
        "Throughput and latency",
        tables=[Table(headers, told, "Producers' history against the effects ledger"), latency],
        plots=["throughput", "latency"],
    )
