"""Talk to the system: what is asked in words is answered from the store.

An approval by word is read back first and takes effect only when the speaker confirms that very
approval, by its number, within two minutes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import new_id, utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.kernels.voice_conversation import answers
from homeostat.store import approvals, conversations
from homeostat.store.approvals import Approval, ApprovalError
from homeostat.store.conversations import Utterance
from homeostat.supervision import speech
from homeostat.supervision.events import undone
from homeostat.supervision.overview import counts, overview
from homeostat.supervision.ports import Governance, Library

#: A read-back that is not confirmed within this time is forgotten.
CONFIRM_WITHIN = timedelta(minutes=2)
NUMBERS = (
    *("zero", "one", "two", "three", "four", "five"),
    *("six", "seven", "eight", "nine", "ten"),
)
#: Phrases of which each probe speaks one and must hear it again.
SPOKEN = ("what broke", "status", "yes approve number seven", "reject number three")
#: What was said longer ago than this proves nothing of now; a boot's tiers take seconds.
JUST_NOW = timedelta(seconds=30)
_WORD = re.compile(r"[a-z0-9_.:-]+")
_DECIDE = re.compile(
    r"^(?P<yes>yes )?(?P<verb>approve|reject)(?: number)? (?P<which>(?!number$)\S+)$"
)
_FIND = re.compile(r"^(?:find|look up|how do i|how to|where is) (?P<what>.+)$")
_WHY = re.compile(r"^why (?:was|is|were) (?:the )?(?P<what>.+?) (?:blocked|refused|stopped)$")


@dataclass(frozen=True)
class Reply:
    """What is answered; `pending` is the approval that waits to be confirmed."""

    intent: str
    text: str
    pending: str = ""
    phrase: str = ""


class VoiceConversation(Component):
    """Understands a handful of questions and the approval dialogue, in text and in speech."""

    spec = ComponentSpec(
        name="voice_conversation",
        wing=Wing.KERNELS,
        tier=5,
        summary="Answers status, what broke and why, and takes approvals with a read-back.",
        needs=("kernels.agentic_spine", "kernels.governance", "kernels.librarian"),
        timeout_s=20.0,
    )

    #: What the boot began to say before its turn, and when.
    _begun: tuple[speech.Rehearsal, datetime] | None = None

    def prepare(self) -> None:
        """Begin to say a phrase and to hear it: loading the recogniser's models takes a second."""
        if not speech.missing():
            self._begun = speech.Rehearsal(_phrase()), utcnow()

    def converse(self, session: Session, said: str, *, speaker: str) -> Reply:
        """Answer one utterance, and remember the turn."""
        words = " ".join(_WORD.findall(said.lower()))
        reply = self._answer(session, words, speaker)
        turn = Utterance(speaker=speaker, said=said[:2000], intent=reply.intent, answer=reply.text)
        turn.pending, turn.phrase, turn.at = reply.pending, reply.phrase, utcnow()
        session.add(turn)
        session.flush()
        return reply

    def _answer(self, session: Session, words: str, speaker: str) -> Reply:
        plain: dict[str, Callable[[Session], str]] = {
            "status": answers.status,
            "how are you": answers.status,
            "what broke": answers.what_broke,
            "what is broken": answers.what_broke,
            "what waits": answers.what_waits,
        }
        if words in plain:
            return Reply(words.replace(" ", "_"), plain[words](session))
        if found := _WHY.match(words):
            return Reply("why", answers.why(session, found["what"]))
        if found := _FIND.match(words):
            library: Library = self.need("kernels.librarian")
            return Reply("find", answers.find(session, library, found["what"]))
        if found := _DECIDE.match(words):
            verb, which = found["verb"], found["which"]
            if found["yes"]:
                return self._confirm(session, verb, which, speaker)
            return self._read_back(session, verb, which)
        return Reply(
            "help",
            "I understand: status; what broke; what waits; why was the trade blocked; "
            "find what you look for; "
            "approve number 1; reject number 1.",
        )

    def _read_back(self, session: Session, verb: str, which: str) -> Reply:
        approval = _waiting(session, which)
        if approval is None:
            return Reply(verb, f"No approval {which} waits. {answers.what_waits(session)}")
        phrase = f"yes {verb} number {which}"
        gist = next(iter(approval.plan.splitlines()), "no plan was given")
        text = (
            f"You are about to {verb} {approval.action} on {approval.subject}, risk "
            f"{approval.risk}, asked for by {approval.requested_by}: {gist.rstrip('.')}. "
            f"Say '{phrase}' to confirm."
        )
        return Reply(verb, text, pending=approval.id, phrase=phrase)

    def _confirm(self, session: Session, verb: str, which: str, speaker: str) -> Reply:
        last = conversations.last_of(session, speaker)
        phrase = f"yes {verb} number {which}"
        if last is None or last.phrase != phrase or utcnow() - last.at > CONFIRM_WITHIN:
            return Reply(
                f"confirm_{verb}", f"Nothing was read back to confirm. Say '{verb}' first."
            )
        governance: Governance = self.need("kernels.governance")
        decide = governance.approve if verb == "approve" else governance.reject
        try:
            decide(session, last.pending, by=speaker, reason="by word, after a read-back")
        except ApprovalError as error:
            return Reply(f"confirm_{verb}", str(error))
        return Reply(f"confirm_{verb}", f"Done: {verb} of approval {last.pending} is recorded.")

    def probe(self, session: Session) -> Evidence:
        """Hold a dialogue about a made-up approval and incident, and undo it; then a spoken
        phrase is recognised back, or what speech lacks is named.
        """
        watch = Stopwatch()
        lacks = speech.missing()
        phrase, heard = ("", "") if lacks else self._spoken()
        with undone(session):
            dialogue = self._dialogue(session)
        observed: dict[str, JsonValue] = {**dialogue, "speech": "works"}
        if lacks:
            observed["speech"] = f"text only: {' and '.join(lacks)} not installed"
        else:
            observed |= {"said": phrase, "heard": heard}
        return Evidence(
            claim="it answers from the store, approves only after its read-back was confirmed, "
            "and hears what it says where speech is installed",
            passed=all(dialogue.values()) and heard == phrase,
            observed=observed,
            seconds=watch.seconds,
        )

    def _spoken(self) -> tuple[str, str]:
        """Return a phrase that was said just now, and what was heard."""
        begun, self._begun = self._begun, None
        if begun is None or utcnow() - begun[1] > JUST_NOW:
            begun = speech.Rehearsal(_phrase()), utcnow()
        return begun[0].phrase, begun[0].heard()

    def _dialogue(self, session: Session) -> dict[str, bool]:
        speaker, subject = f"probe:{new_id()}", new_id()
        approval = approvals.request(
            session,
            action="probe.talk",
            subject=subject,
            risk="low",
            requested_by=self.spec.full_name,
            plan="nothing",
            valid_for=timedelta(minutes=1),
        )

        def says(text: str) -> str:
            return self.converse(session, text, speaker=speaker).text

        def state() -> str:
            return session.get_one(Approval, approval.id, populate_existing=True).state

        unasked = says(f"yes approve {approval.id}")
        untouched = state() == "pending" and "Nothing was read back" in unasked
        read_back = subject in says(f"approve {approval.id}")
        waited = state() == "pending"
        says(f"yes approve {approval.id}")
        told = says("status")
        running = counts(overview(session))
        return {
            "not_without_read_back": untouched,
            "read_back": read_back and waited,
            "approved_when_confirmed": state() == "approved",
            "status_told": all(f"{count} {name}" in told for name, count in running.items()),
        }

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Forget turns older than a month, and say what speech lacks."""
        old = session.scalars(
            select(Utterance).where(Utterance.at < due_at - timedelta(days=30)).limit(500)
        ).all()
        for turn in old:
            session.delete(turn)
        return CycleResult(
            work=len(old), observed={"forgotten": len(old), "speech_lacks": list(speech.missing())}
        )


def _phrase() -> str:
    return SPOKEN[utcnow().minute % len(SPOKEN)]


def _waiting(session: Session, which: str) -> Approval | None:
    waiting = approvals.waiting(session)
    number = NUMBERS.index(which) if which in NUMBERS else None
    if number is None and which.isdecimal() and len(which) < 4:
        number = int(which)
    if number is not None:
        return waiting[number - 1] if 0 < number <= len(waiting) else None
    alike = [one for one in waiting if len(which) >= 4 and one.id.startswith(which)]
    return alike[0] if len(alike) == 1 else None
