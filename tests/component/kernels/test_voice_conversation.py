from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from homeostat import cli, registry
from homeostat.clock import utcnow
from homeostat.component import State
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.kernels import voice_conversation
from homeostat.kernels.voice_conversation import Reply, VoiceConversation
from homeostat.store import approvals, audit
from homeostat.store.approvals import Approval
from homeostat.store.conversations import Utterance
from homeostat.store.database import transaction
from homeostat.store.decisions import DecisionRecord
from homeostat.supervision import speech
from homeostat.supervision.reading_room import Text
from homeostat.supervision.recogniser import recognise
from homeostat.testing import check_contract

pytestmark = pytest.mark.usefixtures("sqlite_store")

speaks = pytest.mark.skipif(
    bool(speech.missing()), reason=f"not installed: {', '.join(speech.missing())}"
)
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
PHRASES = (
    *("status", "what broke", "what waits"),
    *(f"why was the {thing} blocked" for thing in ("trade", "fix", "restart", "plan")),
    *(f"{verb} number {n}" for verb in ("approve", "reject") for n in NUMBERS),
    *(f"yes {verb} number {n}" for verb in ("approve", "reject") for n in NUMBERS),
)


@pytest.fixture
def voice() -> VoiceConversation:
    found = registry.find("kernels.voice_conversation")
    assert isinstance(found, VoiceConversation)
    return found


def says(voice: VoiceConversation, words: str, speaker: str = "ada") -> Reply:
    with transaction() as session:
        return voice.converse(session, words, speaker=speaker)


def planted(subject: str = "incident-1") -> str:
    with transaction() as session:
        return approvals.request(
            session,
            action="fix.apply",
            subject=subject,
            risk="high",
            requested_by="kernels.coding_agent",
            plan="a diff",
            valid_for=timedelta(hours=1),
        ).id


def state_of(approval: str) -> str:
    with transaction() as session:
        return session.get_one(Approval, approval).state


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract() -> None:
    with transaction() as session:
        evidence = check_contract(registry.find("kernels.voice_conversation"), session)
        assert session.scalars(select(Approval)).all() == []
    assert ("heard" in evidence.observed) is not bool(speech.missing())


def test_the_status_counts_every_component(voice: VoiceConversation) -> None:
    told = says(voice, "Status?").text
    assert f"Of {len(registry.names())} components" in told
    assert f"0 {State.RUNNING}" in told


def test_what_broke_tells_the_open_incidents(voice: VoiceConversation) -> None:
    assert says(voice, "what broke?").text == "No incident is open."
    with transaction() as session:
        report(session, Failure.without_frames("OddError", "It broke.", "worker", "workers.main"))
    told = says(voice, "What broke?").text
    assert "1 incident is open" in told
    assert "workers.main: OddError" in told


def test_why_is_answered_from_the_decision_record(voice: VoiceConversation) -> None:
    with transaction() as session:
        row = audit.append(session, actor="a", action="trade.block", resource="BTCUSDT")
        record = DecisionRecord(component="trading.ai_hfos", action="trade.block")
        record.subject, record.rule = "BTCUSDT", "exposure above its limit"
        record.outcome, record.audit_sequence = "blocked", row.sequence
        session.add(record)
    told = says(voice, "Why was BTCUSDT blocked?").text
    assert "exposure above its limit" in told
    assert "trading.ai_hfos" in told


def test_what_is_not_known_is_said_so(voice: VoiceConversation) -> None:
    assert says(voice, "why was the moon blocked?").text == "I know of no decision about moon."


@pytest.mark.parametrize("words", ["", "sing a song", "approve", "yes", "approve number", "\x00"])
def test_what_is_not_understood_gets_help(voice: VoiceConversation, words: str) -> None:
    assert says(voice, words).intent == "help"


@pytest.mark.parametrize(("verb", "state"), [("approve", "approved"), ("reject", "rejected")])
def test_a_decision_takes_effect_after_its_read_back(
    voice: VoiceConversation, verb: str, state: str
) -> None:
    approval = planted()
    reply = says(voice, f"{verb} number one")
    assert "fix.apply on incident-1, risk high" in reply.text
    assert state_of(approval) == "pending"
    assert "recorded" in says(voice, reply.phrase).text
    assert state_of(approval) == state
    with transaction() as session:
        row = [*audit.rows_after(session, 0)][-1]
    assert (row.actor, row.action) == ("ada", f"approval.{verb}")


def test_nothing_is_approved_without_a_read_back(voice: VoiceConversation) -> None:
    approval = planted()
    assert "Nothing was read back" in says(voice, "yes approve number 1").text
    assert state_of(approval) == "pending"


def test_another_speaker_or_another_number_or_verb_confirms_nothing(
    voice: VoiceConversation,
) -> None:
    first, second = planted("a"), planted("b")
    says(voice, "approve 1")
    says(voice, "yes approve number 1", speaker="mallory")
    says(voice, "yes reject number 1")
    says(voice, "approve 1")
    says(voice, "yes approve number 2")
    assert (state_of(first), state_of(second)) == ("pending", "pending")


def test_a_number_means_what_it_meant_when_it_was_read_back(voice: VoiceConversation) -> None:
    first, second = planted("a"), planted("b")
    says(voice, "approve 1")
    with transaction() as session:
        approvals.decide(session, first, approve=False, by="bob")
    told = says(voice, "yes approve number 1").text
    assert state_of(second) == "pending", "the second became number 1 and was not meant"
    assert "already" in told


def test_something_said_in_between_ends_the_read_back(voice: VoiceConversation) -> None:
    approval = planted()
    says(voice, "approve 1")
    says(voice, "status")
    says(voice, "yes approve number 1")
    assert state_of(approval) == "pending"


def test_a_read_back_is_not_valid_for_long(voice: VoiceConversation) -> None:
    approval = planted()
    says(voice, "approve 1")
    with transaction() as session:
        session.scalars(select(Utterance)).one().at = utcnow() - timedelta(minutes=3)
    says(voice, "yes approve number 1")
    assert state_of(approval) == "pending"


def test_the_command_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", "what broke?"]) == 0
    assert capsys.readouterr().out == "No incident is open.\n"
    planted()
    assert cli.run(["ask", "approve", "1", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["confirm"] == "yes approve number 1"
    assert sys.stdout is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["find the zyxomatic lever", "How do I turn the zyxomatic lever?", "look up zyxomatic"]
)
def test_what_is_looked_for_is_found_in_the_library(voice: VoiceConversation, words: str) -> None:
    with transaction() as session:
        library: Any = registry.find("kernels.librarian")
        text = "Turn the zyxomatic lever to the left."
        library.index(session, [Text("runbook", "runbook:valve.md", "Stuck valve", text)])
    told = says(voice, words)
    assert told.intent == "find"
    assert "runbook:valve.md: Turn the zyxomatic lever" in told.text


def test_what_nobody_wrote_about_is_not_found(voice: VoiceConversation) -> None:
    assert says(voice, "find quorbitic").text == "The library holds nothing about quorbitic."


#: A phrase of each kind that the grammar knows, and some numbers.
SOME = PHRASES[::6]


@speaks
@pytest.mark.parametrize(
    "phrases", [SOME, pytest.param(PHRASES, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_every_phrase_is_heard_as_it_was_said(phrases: tuple[str, ...]) -> None:
    wrong = {said: heard for said in phrases if (heard := recognise(speech.say(said))) != said}
    assert wrong == {}


@speaks
@pytest.mark.parametrize(
    "words",
    [
        *("the weather is nice today", "banana", "delete everything now please", "open the door"),
        *("yes", "number seven", "approve everything", "please stop the music", ""),
    ],
)
def test_what_is_no_known_phrase_is_not_taken_for_one(words: str) -> None:
    assert recognise(speech.say(words)) == ""


@speaks
def test_a_spoken_question_gets_a_spoken_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, answered = tmp_path / "asked.wav", tmp_path / "answered.wav"
    asked.write_bytes(speech.say("what broke"))
    assert cli.run(["ask", "--recording", str(asked), "--aloud", str(answered)]) == 0
    assert capsys.readouterr().out == "No incident is open.\n"
    assert answered.read_bytes() == speech.say("No incident is open.")


@speaks
def test_what_was_begun_early_is_heard_once_and_only_if_it_was_just_now(
    voice: VoiceConversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    def hear(sound: bytes) -> str:
        heard.append(sound)
        return sound.decode()

    monkeypatch.setattr(speech, "say", lambda words: words.encode())
    monkeypatch.setattr(speech, "hear", hear)
    with transaction() as session:
        for early, spoken in ((True, 1), (False, 2), (True, 3)):
            if early:
                voice.prepare()
            assert voice.probe(session).passed
            assert len(heard) == spoken
        voice.prepare()
        monkeypatch.setattr(voice_conversation, "JUST_NOW", timedelta(0))
        assert voice.probe(session).passed
        assert len(heard) == 5, "what is old was said again"
        monkeypatch.setattr(speech, "hear", lambda _sound: "")
        voice.prepare()
        assert not voice.probe(session).passed, "a deaf recogniser is no proof, however early"


def test_without_speech_it_says_that_it_is_text_only(
    voice: VoiceConversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with transaction() as session:
        evidence = voice.probe(session)
    assert evidence.passed
    assert "espeak-ng" in str(evidence.observed["speech"])


class ApprovesAtOnce(VoiceConversation):
    def _read_back(self, session: object, verb: str, which: str) -> Reply:
        """Decide without asking."""
        approval = planted_in(session, which)
        self.need("kernels.governance").approve(session, approval, by="x", reason="")
        return Reply(verb, approval)


class AlwaysFine(VoiceConversation):
    def _answer(self, *_given: object) -> Reply:
        """Say that all is well."""
        return Reply("status", "All is well.")


def planted_in(session: object, which: str) -> str:
    del session
    return which


@pytest.mark.parametrize("kind", [ApprovesAtOnce, AlwaysFine])
def test_a_broken_conversation_fails_its_probe(
    voice: VoiceConversation, kind: type[VoiceConversation]
) -> None:
    with transaction() as session:
        assert not kind(voice.context).probe(session).passed
