"""The search for a patch that holds its proof: what is known first, then the strategies."""

from __future__ import annotations

from collections.abc import Iterator

from homeostat.incidents.signature import Signature
from homeostat.repair.case import Candidate, Case
from homeostat.repair.knowledge import Knowledge, patch_digest
from homeostat.repair.outcome import Attempt, Clock
from homeostat.repair.proof import Prover
from homeostat.repair.proof.units import unified


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
        """Return the first attempt whose proof holds."""
        return next((tried for found in self._candidates() if (tried := self._try(found))), None)

    def _candidates(self) -> Iterator[Candidate]:
        """Yield a fix that has stood, what the strategies find, what was only proposed, the rest.

        What was only proposed goes after its like from a strategy, which says by what evidence it
        may go in.
        """
        known, has_stood = self._known()
        if known is not None and has_stood:
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
        if known is not None and not has_stood:
            yield known
        for candidate in strategies.last_resort(self._case):
            if patch_digest(dict(candidate.changes)) not in failed:
                yield candidate

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
