"""From facts to a verdict: what every section's rule says, and the worst of it.

The rules know nothing of how the facts were gathered. A required NOT TESTED makes the report
INCONCLUSIVE whatever else was found; the findings stand beside it and the risk line counts the
proven ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from homeostat.stress.facts import Facts
from homeostat.stress.findings import Finding, NotTested, Verdict
from homeostat.stress.sections import RULES


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
