"""The search for a patch that holds its proof: what is known first, then the strategies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from homeostat.incidents.signature import Signature
from homeostat.repair.case import Candidate, Case, Origin
from homeostat.repair.knowledge import Knowledge, patch_digest
from homeostat.repair.outcome import Attempt, Clock
from homeostat.repair.proof import Prover
from homeostat.repair.proof.units import unified

#: Further candidates that are tried where the first that holds is not beyond doubt.
_MOST_RIVALS = 3
#: What stood once needs no comparison with what might have.
_STOOD = frozenset({Origin.KNOWLEDGE, Origin.HISTORY})


class Search:
    """One search; `refused` are the attempts whose proof did not hold."""

    def __init__(
        self,
        case: Case,
        prover: Prover,
        keys: Signature,
        clock: Clock,
        *,
        knowledge: Knowledge | None,
        extra: tuple[Candidate, ...] = (),
        most: int = 10,
        budget_s: float = 240.0,
    ) -> None:
        """Take the case; `extra` go before the strategies, `most` and `budget_s` bound them."""
        self._case, self._prover, self._keys, self._clock = case, prover, keys, clock
        self._knowledge, self._extra, self._most, self._budget_s = knowledge, extra, most, budget_s
        self.refused: list[Attempt] = []

    def attempt(self) -> Attempt | None:
        """Return the first attempt whose proof holds, or a rival that leaves less in doubt."""
        known, has_stood = self._known()
        likely = self._likely(known if has_stood else None)
        for candidate in likely:
            if (tried := self._try(candidate)) is not None:
                return self._weighed(tried, likely)
        last = self._last(known if not has_stood else None)
        return next((tried for found in last if (tried := self._try(found))), None)

    def _likely(self, known: Candidate | None) -> Iterator[Candidate]:
        """Yield a fix that has stood, and what the strategies find."""
        if known is not None:
            yield known
        # Their syntax trees take a fifth of a second to import, which a known fix does not need.
        from homeostat.repair import strategies

        self._prover.begin()
        with self._clock.part("candidates"):
            found = [*self._extra, *strategies.candidates(self._case)]
        failed = self._failed()
        fresh = (one for one in found if patch_digest(dict(one.changes)) not in failed)
        for number, candidate in enumerate(fresh):
            if number >= self._most or self._clock.seconds > self._budget_s:
                break
            yield candidate

    def _last(self, known: Candidate | None) -> Iterator[Candidate]:
        """Yield what was only proposed, and what is fetched from outside.

        What was only proposed goes after its like from a strategy, which says by what evidence it
        may go in.
        """
        from homeostat.repair import strategies

        if known is not None:
            yield known
        failed = self._failed()
        for candidate in strategies.last_resort(self._case):
            if patch_digest(dict(candidate.changes)) not in failed:
                yield candidate

    def _weighed(self, first: Attempt, others: Iterator[Candidate]) -> Attempt:
        """Return the attempt that leaves the fewest tests in doubt; what has a rival is not sure.

        A rival is another patch that has evidence for it too and whose proof holds as well.
        """
        if first.candidate.origin in _STOOD:
            return first
        held = [first]
        for other in islice(others, _MOST_RIVALS):
            if not (first.proof.doubts or (first.candidate.rule and other.rule)):
                break
            if (tried := self._try(other)) is not None:
                held.append(tried)
        best = min(held, key=lambda one: len(one.proof.doubts))
        least = len(best.proof.doubts)
        rivals = [
            one
            for one in held
            if one is not best and one.candidate.rule and len(one.proof.doubts) == least
        ]
        if rivals:
            return _unsure(best, f"another patch holds as well: {rivals[0].candidate.title}")
        if least:
            return _unsure(best, f"{best.proof.doubts[0]} failed by this too, and fails with it")
        return best

    def _known(self) -> tuple[Candidate | None, bool]:
        """Return the known fix, and whether it was put to use and has stood."""
        if self._knowledge is None:
            return None, False
        key = self._keys.replay_key
        with self._clock.part("knowledge"):
            found = self._knowledge.candidate(key, self._case.tree)
            return found, self._knowledge.successes(key) > 0

    def _failed(self) -> set[str]:
        """Return the patches that were taken back or rejected: they are not found again."""
        return self._knowledge.given_up(self._keys.replay_key) if self._knowledge else set()

    def _try(self, candidate: Candidate) -> Attempt | None:
        with self._clock.part("proof"):
            proof = self._prover.prove(candidate)
        attempt = Attempt(candidate, proof, unified(self._case.tree, candidate.changes))
        if proof.holds:
            return attempt
        self.refused.append(attempt)
        return None


def _unsure(attempt: Attempt, why: str) -> Attempt:
    """Return the attempt for a person to decide on."""
    return replace(attempt, candidate=replace(attempt.candidate, rule="", waits_because=why))
