"""Broken variants of the kernels of healing, memory, agency and service.

Each kernel has three: its job does nothing, it does nothing and says that it worked, and it
gives an old answer as if it were new. None of them may come out as RUNNING.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component
from homeostat.kernels.agentic_spine import AgenticSpine
from homeostat.kernels.api_server import Answer, ApiServer
from homeostat.kernels.learning_integration import LearningIntegration
from homeostat.kernels.librarian import Librarian
from homeostat.kernels.memory_fusion import MemoryFusion, Recollection, Source
from homeostat.kernels.meta_loop import MetaLoop
from homeostat.kernels.self_healing import SelfHealing
from homeostat.kernels.voice_conversation import Reply, VoiceConversation
from homeostat.repair.remedy import Plan, RemedyOutcome
from homeostat.store.beat import BeatEntry
from homeostat.store.incidents import Incident
from homeostat.store.library import Hit
from homeostat.store.memories import Memory
from homeostat.store.plans import IncidentPlan, PlanState, Route
from homeostat.store.tunings import Tuning, TuningState
from homeostat.supervision.reading_room import Text


class IdleHealer(SelfHealing):
    def act(self, plan: Plan, on: object = None) -> RemedyOutcome:
        """Do nothing."""
        del on
        return RemedyOutcome(False, False, plan.playbook.name)


class BoastfulHealer(SelfHealing):
    def act(self, plan: Plan, on: object = None) -> RemedyOutcome:
        """Do nothing, and say that it was verified."""
        del on
        return RemedyOutcome(True, True, plan.playbook.name)


class StaleHealer(SelfHealing):
    def act(self, plan: Plan, on: Any = None) -> RemedyOutcome:
        """Act once, and then repeat what came of it."""
        kept: RemedyOutcome | None = getattr(self, "kept", None)
        if kept is None:
            kept = self.kept = super().act(plan, on)
        return replace(kept, playbook=plan.playbook.name)


class IdleApi(ApiServer):
    def ask(self, path: str, token: str | None) -> Answer:
        """Ask nobody."""
        del path, token
        return Answer(0, b"")


class BoastfulApi(ApiServer):
    def ask(self, path: str, token: str | None) -> Answer:
        """Ask nobody, and say that all is as it should be."""
        del path
        return Answer(200 if token and token != "not-the-token" else 401, b"{}")


class StaleApi(ApiServer):
    def ask(self, path: str, token: str | None) -> Answer:
        """Ask once, and then repeat the answer with the present time on it."""
        del path
        kept: dict[str | None, Answer] = self.__dict__.setdefault("kept", {})
        if token not in kept:
            kept[token] = super().ask("/api/v1/status?nonce=old", token)
        stamp = b'"at":"' + utcnow().isoformat().encode() + b'"'
        return Answer(
            kept[token].status, re.sub(rb'"at":"[^"]*"', stamp, kept[token].body, count=1)
        )


class IdleLibrarian(Librarian):
    def index(self, session: Session, texts: Iterable[Text]) -> int:
        """Index nothing."""
        del session, texts
        return 0


class BoastfulLibrarian(Librarian):
    def index(self, session: Session, texts: Iterable[Text]) -> int:
        """Index nothing, and say that all was."""
        del session
        return len([*texts])


class StaleLibrarian(Librarian):
    def search(self, session: Session, query: str, *, kind: str = "", most: int = 10) -> list[Hit]:
        """Search once, and then repeat what was found."""
        if "kept" not in self.__dict__:
            self.kept = super().search(session, query, kind=kind, most=most)
        return self.kept


class IdleMemory(MemoryFusion):
    def remember(self, session: Session, source: Source) -> Memory | None:
        """Remember nothing."""
        del session, source
        return None


class BoastfulMemory(MemoryFusion):
    def remember(self, session: Session, source: Source) -> Memory | None:
        """Remember nothing, and hand out a memory all the same."""
        del session
        return Memory(kind=source.kind, signature=source.signature, text=source.text, times=2)


class StaleMemory(MemoryFusion):
    def recall(self, *given: Any, **more: Any) -> list[Recollection]:
        """Recall once, and then repeat it."""
        if "kept" not in self.__dict__:
            self.kept = super().recall(*given, **more)
        return self.kept


class IdleLearner(LearningIntegration):
    def learn(self, session: Session, outcomes: Mapping[str, tuple[int, int]]) -> list[str]:
        """Learn nothing."""
        del session, outcomes
        return []


class BoastfulLearner(LearningIntegration):
    def learn(self, session: Session, outcomes: Mapping[str, tuple[int, int]]) -> list[str]:
        """Learn nothing, and say that every trust has changed."""
        del session
        return [*outcomes]


class StaleLearner(LearningIntegration):
    def prefer(self, session: Session, rivals: Sequence[str]) -> list[str]:
        """Prefer for ever what was preferred first."""
        kept: list[str] = self.__dict__.setdefault("kept", super().prefer(session, rivals))
        return [name for name in kept if name in rivals] + [n for n in rivals if n not in kept]


class IdleSpine(AgenticSpine):
    def plan(self, session: Session, incident: Incident, position: int = 0) -> IncidentPlan:
        """Plan nothing that anybody could follow."""
        del session
        return IncidentPlan(incident_id=incident.id, opening=1, position=position)


class BoastfulSpine(AgenticSpine):
    def plan(self, session: Session, incident: Incident, position: int = 0) -> IncidentPlan:
        """Write a plan down and say that it was sent off."""
        plan = IncidentPlan(incident_id=incident.id, opening=1, route=Route.PLAYBOOK)
        plan.state, plan.position, plan.cosigned_by = PlanState.DONE, position, "kernels.governance"
        plan.due_at = utcnow()
        session.add(plan)
        session.flush()
        return plan


class StaleSpine(AgenticSpine):
    def _route(self, *given: Any) -> tuple[Route, str]:
        """Take the first route for ever."""
        if "kept" not in self.__dict__:
            self.kept = super()._route(*given)
        return self.kept


class IdleTuner(MetaLoop):
    def propose(self, session: Session, loops: Sequence[BeatEntry], now: datetime) -> Tuning | None:
        """Find nothing to change."""
        del session, loops, now
        return None


class BoastfulTuner(MetaLoop):
    def judge(self, session: Session, now: datetime) -> Tuning | None:
        """Say of every change that it helped."""
        for tuning in session.query(Tuning).filter(Tuning.state == TuningState.TRIAL):
            tuning.state, tuning.score_after, tuning.ended_at = TuningState.KEPT, 0.0, now
            return tuning
        return None


class StaleTuner(MetaLoop):
    def score(self, *given: Any, **more: Any) -> Any:
        """Score once, and then repeat it."""
        if "kept" not in self.__dict__:
            self.kept = super().score(*given, **more)
        return self.kept


class IdleVoice(VoiceConversation):
    def converse(self, session: Session, said: str, *, speaker: str) -> Reply:
        """Say nothing."""
        del session, said, speaker
        return Reply("", "")


class BoastfulVoice(VoiceConversation):
    def converse(self, session: Session, said: str, *, speaker: str) -> Reply:
        """Do nothing, and say that it is done."""
        del session, speaker
        return Reply("confirm_approve", f"Done: {said}. All components are RUNNING.")


class StaleVoice(VoiceConversation):
    def converse(self, session: Session, said: str, *, speaker: str) -> Reply:
        """Answer everything as the first thing was answered."""
        if "kept" not in self.__dict__:
            self.kept = super().converse(session, said, speaker=speaker)
        return self.kept


#: Kernel → its three broken variants: nothing, success, stale.
BROKEN: dict[str, tuple[type[Component], type[Component], type[Component]]] = {
    "kernels.self_healing": (IdleHealer, BoastfulHealer, StaleHealer),
    "kernels.librarian": (IdleLibrarian, BoastfulLibrarian, StaleLibrarian),
    "kernels.memory_fusion": (IdleMemory, BoastfulMemory, StaleMemory),
    "kernels.learning_integration": (IdleLearner, BoastfulLearner, StaleLearner),
    "kernels.agentic_spine": (IdleSpine, BoastfulSpine, StaleSpine),
    "kernels.meta_loop": (IdleTuner, BoastfulTuner, StaleTuner),
    "kernels.voice_conversation": (IdleVoice, BoastfulVoice, StaleVoice),
    "kernels.api_server": (IdleApi, BoastfulApi, StaleApi),
}
