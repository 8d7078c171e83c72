"""The report's sections: each module judges its own facts and shows them.

`judge(facts)` is the rule of a section, `section(report)` its words and tables. What was not
looked at (`None`, an empty table) is said to be untested, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable

from homeostat.stress.facts import Facts
from homeostat.stress.findings import Said
from homeostat.stress.layout import Section
from homeostat.stress.report import Report
from homeostat.stress.sections import (
    boot,
    cadence,
    chaos,
    flow,
    hardening,
    health,
    incidents,
    summary,
    symptoms,
    throughput,
)

RULES: tuple[Callable[[Facts], Said], ...] = (
    boot.judge,
    health.judge,
    cadence.judge,
    throughput.judge,
    symptoms.judge,
    flow.judge,
    chaos.judge,
    incidents.judge,
)
#: In the order in which they are read.
SECTIONS: tuple[Callable[[Report], Section], ...] = (
    summary.section,
    boot.section,
    health.section,
    cadence.section,
    throughput.section,
    symptoms.section,
    flow.section,
    chaos.section,
    incidents.section,
    health.matrix,
    hardening.section,
)
