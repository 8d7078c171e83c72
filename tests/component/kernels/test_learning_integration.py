from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from homeostat import registry
from homeostat.clock import utcnow
from homeostat.kernels.learning_integration import LearningIntegration
from homeostat.repair import choice
from homeostat.repair.confidence import confidence, ranked
from homeostat.repair.remedy import Cause
from homeostat.store import audit, lessons
from homeostat.store.database import transaction
from homeostat.store.lessons import Lesson
from homeostat.store.remedies import RemedyRun, RunState
from homeostat.store.repair import KnownFix
from homeostat.testing import check_contract

pytestmark = pytest.mark.usefixtures("sqlite_store")


@pytest.fixture
def learner() -> LearningIntegration:
    found = registry.find("kernels.learning_integration")
    assert isinstance(found, LearningIntegration)
    return found


@pytest.mark.usefixtures("store")
def test_it_keeps_the_contract(learner: LearningIntegration) -> None:
    with transaction() as session:
        check_contract(learner, session)
        assert session.query(Lesson).filter(Lesson.subject.like("probe:%")).count() == 0


def wins_within(outcomes: int, seed: int) -> bool:
    """Whether the better of two (0.8 and 0.4) is preferred after that many outcomes."""
    chance = random.Random(seed)  # noqa: S311  # a simulation
    rates = {"a": 0.4, "b": 0.8}
    tally = dict.fromkeys(rates, (0, 0))
    for _ in range(outcomes):
        name = ranked(list(rates), tally)[0]
        won, lost = tally[name]
        worked = chance.random() < rates[name]
        tally[name] = (won + worked, lost + (not worked))
    means = {name: confidence(*counts).mean for name, counts in tally.items()}
    return means["b"] > means["a"]


def test_the_better_of_two_playbooks_wins_within_thirty_outcomes() -> None:
    assert sum(wins_within(30, seed) for seed in range(200)) / 200 >= 0.95


def test_nothing_is_known_of_what_nobody_tried() -> None:
    unknown = confidence(0, 0)
    assert unknown.mean == 0.5
    assert unknown.trusted


def test_equals_keep_their_order() -> None:
    assert ranked(["b", "a"], {}) == ["b", "a"]


def test_what_only_fails_loses_its_trust_and_regains_it_by_working(
    learner: LearningIntegration,
) -> None:
    with transaction() as session:
        assert learner.learn(session, {"playbook:x": (0, 3)}) == []
        assert learner.learn(session, {"playbook:x": (0, 6)}) == ["playbook:x"]
        assert lessons.distrusted(session, "playbook:") == {"x"}
        assert learner.prefer(session, ["playbook:x", "playbook:y"]) == ["playbook:y"]
        assert learner.learn(session, {"playbook:x": (9, 6)}) == ["playbook:x"]
        actions = [row.action for row in audit.rows_after(session, 0)]
    assert actions == ["trust.withdrawn", "trust.restored"]


def test_a_playbook_that_lost_its_trust_is_not_chosen(learner: LearningIntegration) -> None:
    cause = Cause("i:1", "kernels.x", "OperationalError", utcnow())
    with transaction() as session:
        assert getattr(choice.choose(session, cause), "name", "") == "reconnect"
        for number in range(8):
            run = RemedyRun(playbook="reconnect", component="k", cause=str(number))
            run.state = RunState.UNVERIFIED
            session.add(run)
        session.flush()
        learner.run(session, utcnow())
        refused = choice.choose(session, cause)
    assert isinstance(refused, str)
    assert "no longer trusted" in refused


def test_a_remedy_that_found_nothing_to_do_proves_nothing(learner: LearningIntegration) -> None:
    with transaction() as session:
        for number in range(8):
            run = RemedyRun(playbook="purge-poison", component="k", cause=str(number), acted=False)
            run.state = RunState.UNVERIFIED
            session.add(run)
        session.flush()
        learner.run(session, utcnow())
        assert lessons.all_lessons(session) == []


def test_fixes_of_the_coding_agent_are_weighed_by_their_strategy(
    learner: LearningIntegration,
) -> None:
    with transaction() as session:
        for number, (won, lost) in enumerate([(2, 0), (1, 1)]):
            fix = KnownFix(replay_key=str(number), group_key="g", patch="p", strategy="moved")
            fix.defect = fix.side = fix.title = fix.diff = ""
            fix.parameters, fix.changes, fix.preimages, fix.proof = {}, {}, {}, {}
            fix.successes, fix.failures = won, lost
            session.add(fix)
        session.flush()
        learner.run(session, utcnow())
        lesson = session.get_one(Lesson, "fix:moved")
        assert (lesson.won, lesson.lost, lesson.trusted) == (3, 1, True)


class Credulous(LearningIntegration):
    def learn(self, session: object, outcomes: object) -> list[str]:
        """Learns nothing."""
        del session, outcomes
        return []


class Stubborn(LearningIntegration):
    def prefer(self, session: object, rivals: Sequence[str]) -> list[str]:
        """Prefers what it always preferred."""
        del session
        return list(rivals)


@pytest.mark.parametrize("kind", [Credulous, Stubborn])
def test_a_learner_that_does_not_learn_fails_its_probe(
    learner: LearningIntegration, kind: type[LearningIntegration]
) -> None:
    with transaction() as session:
        assert not kind(learner.context).probe(session).passed
