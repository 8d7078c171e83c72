"""A signature is the same whenever the failure is, and differs where the cause does."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, Context, CycleResult, Evidence, Wing
from homeostat.errors import ProbeFailedError
from homeostat.incidents import sources
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import ALGORITHMS, Basis, Signature, signature_of
from homeostat.settings import settings as homeostat_settings
from homeostat.supervision.check import Tick, run_check

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def load(path: Path, name: str = "failing") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


APP = load(HERE / "failing.py")
WAYS = sorted(APP.WAYS)


def caught(way: str, number: int = 1, app: ModuleType = APP) -> BaseException:
    try:
        app.WAYS[way](number)
    except BaseException as error:  # noqa: BLE001  # whatever it raises is what is looked at
        return error
    raise AssertionError(f"{way} did not fail")


def signature(error: BaseException, component: str = "shop") -> Signature:
    return signature_of(Failure.from_exception(error, source="task", component=component))


def of_text(text: str) -> Signature:
    return signature_of(Failure.from_text(text, source="cli", component="shop"))


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=30)
@given(first=st.integers(), second=st.integers())
def test_values_in_messages_do_not_count(way: str, first: int, second: int) -> None:
    one, other = signature(caught(way, first)), signature(caught(way, second))
    assert one.group_key == other.group_key
    # A mutual recursion and a broken document are other causes at other depths of one path.
    if way != "chained":
        assert one.replay_key == other.replay_key


@settings(max_examples=15)
@given(lines=st.integers(1, 400), comment=st.text("abc ", max_size=30))
def test_line_shifts_do_not_count(
    tmp_path_factory: pytest.TempPathFactory, lines: int, comment: str
) -> None:
    source = (HERE / "failing.py").read_text()
    head, body = source.split("def traced", 1)
    shifted = tmp_path_factory.mktemp("shifted") / "failing.py"
    shifted.write_text(head + f"# {comment}\n" * lines + "\n\ndef traced" + body)
    app = load(shifted)
    for way in WAYS:
        assert signature(caught(way, app=app)).group_key == signature(caught(way)).group_key


@pytest.mark.parametrize("way", WAYS)
def test_a_checkout_elsewhere_has_the_same_keys(way: str, tmp_path: Path) -> None:
    moved = tmp_path / "other" / "machine" / "failing.py"
    moved.parent.mkdir(parents=True)
    shutil.copy(HERE / "failing.py", moved)
    there, here = signature(caught(way, app=load(moved))), signature(caught(way))
    assert (there.group_key, there.replay_key) == (here.group_key, here.replay_key)


@pytest.mark.parametrize("depth", [5, 50, 400])
def test_recursion_depth_does_not_count(depth: int) -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(depth + 300)
        deep = signature(caught("recurse"))
        sys.setrecursionlimit(depth + 900)
        deeper = signature(caught("recurse"))
    finally:
        sys.setrecursionlimit(limit)
    assert deep.group_key == deeper.group_key
    assert deep.replay_key == deeper.replay_key
    assert "failing:recurse" in deep.basis.frames


@given(turns=st.integers(1, 40), more=st.integers(1, 40))
def test_turns_of_a_mutual_recursion_do_not_count(turns: int, more: int) -> None:
    assert (
        signature(caught("mutual", turns)).group_key == signature(caught("mutual", more)).group_key
    )


def test_the_ways_to_fail_stay_apart() -> None:
    keys = {way: signature(caught(way)).group_key for way in WAYS}
    # An exception alone in a group is the failure itself, met by another path.
    assert len(set(keys.values())) == len(keys)


def test_one_type_in_two_functions_is_two_failures() -> None:
    def first() -> None:
        raise ValueError("no")

    def second() -> None:
        raise ValueError("no")

    keys = set()
    for function in (first, second):
        try:
            function()
        except ValueError as error:
            keys.add(signature(error).group_key)
    assert len(keys) == 2


def test_the_innermost_cause_decides() -> None:
    basis = signature(caught("chained")).basis
    assert basis.type == "json.decoder.JSONDecodeError"
    assert basis.frames == ("failing:chained",)
    assert basis.context.startswith("json.loads(")


def test_a_suppressed_cause_does_not_count() -> None:
    assert signature(caught("suppressed")).basis.type == "LookupError"


def test_an_exception_from_another_process_is_itself_and_not_its_printed_traceback() -> None:
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(int, "twelve").exception()
    assert error is not None
    assert type(error.__cause__).__name__ == "_RemoteTraceback"
    found = signature(error)
    assert (found.basis.type, found.basis.template) == (
        "ValueError",
        "invalid literal for int() with base <NUM>: <VALUE>",
    )


def test_one_group_with_another_cause_has_another_replay_key() -> None:
    def touch(name: str) -> None:
        getattr(object(), name)

    found = []
    for name in ("async_session", "session"):
        try:
            touch(name)
        except AttributeError as error:
            found.append(signature(error))
    assert found[0].group_key == found[1].group_key
    assert found[0].replay_key != found[1].replay_key


def test_another_failing_line_has_another_replay_key() -> None:
    def fail(*, how: bool) -> None:
        if how:
            raise ValueError("no")
        raise ValueError( "no" ) from None  # fmt: skip

    found = []
    for how in (True, False):
        try:
            fail(how=how)
        except ValueError as error:
            found.append(signature(error))
    assert found[0].group_key == found[1].group_key
    assert found[0].replay_key != found[1].replay_key


def test_an_edited_file_has_another_replay_key(tmp_path: Path) -> None:
    edited = tmp_path / "failing.py"
    edited.write_text((HERE / "failing.py").read_text() + "\n# edited\n")
    there, here = signature(caught("decorated", app=load(edited))), signature(caught("decorated"))
    assert there.group_key == here.group_key
    assert there.replay_key != here.replay_key


def test_line_ends_of_the_file_do_not_count(tmp_path: Path) -> None:
    windows = tmp_path / "failing.py"
    windows.write_bytes((HERE / "failing.py").read_bytes().replace(b"\n", b"\r\n"))
    there, here = signature(caught("decorated", app=load(windows))), signature(caught("decorated"))
    assert there.replay_key == here.replay_key


@pytest.mark.parametrize("first", [True, False])
def test_the_order_within_a_group_does_not_count(*, first: bool) -> None:
    errors = [caught("decorated"), caught("anonymous"), caught("decorated", 7)]
    group = ExceptionGroup("several", errors if first else errors[::-1])  # type: ignore[type-var]  # all are ValueErrors
    found = signature(group)
    assert found.group_key == signature(ExceptionGroup("more", errors[:2])).group_key  # type: ignore[type-var]  # as above
    assert found.basis.type == "ExceptionGroup[ValueError]"


def test_without_frames_task_type_and_template_decide() -> None:
    def lost(message: str, task: str = "shop.ship") -> Signature:
        return signature_of(
            Failure.without_frames("WorkerLostError", message, "worker", "shop", task)
        )

    one = lost("Worker exited prematurely: signal 9 (SIGKILL) Job: 3.")
    assert (
        one.group_key == lost("Worker exited prematurely: signal 9 (SIGKILL) Job: 771.").group_key
    )
    assert one.group_key != lost("Worker exited prematurely: exitcode 1 Job: 3.").group_key
    assert one.group_key != lost("Worker exited prematurely: signal 9 Job: 3.", "shop.x").group_key
    assert not one.replayable
    assert "No application frame" in one.reason


def test_where_a_time_limit_strikes_does_not_count() -> None:
    class SoftTimeLimitExceeded(Exception):  # noqa: N818  # Celery's name
        pass

    def here() -> None:
        raise SoftTimeLimitExceeded(5)

    def there() -> None:
        raise SoftTimeLimitExceeded(5)

    keys = set()
    for place in (here, there):
        try:
            place()
        except SoftTimeLimitExceeded as error:
            keys.add(signature(error).group_key)
    assert len(keys) == 1


def test_the_label_names_component_type_and_hash() -> None:
    found = signature(caught("missing_name"), "kernels.governance")
    assert found.label == f"governance_ImportError_{found.group_key[:12]}"


def test_an_older_versions_key_is_kept_for_looking_up() -> None:
    def newer(basis: Basis) -> str:
        return f"newer-{basis.type}"

    failure = Failure.from_exception(caught("decorated"), source="task", component="shop")
    today = signature_of(failure)
    tomorrow = signature_of(failure, {**ALGORITHMS, 2: newer})
    assert tomorrow.version == 2
    assert tomorrow.group_key == "newer-ValueError"
    assert tomorrow.former == (today.group_key,)


@pytest.mark.parametrize("way", WAYS)
def test_a_printed_traceback_gives_the_same_keys_at_any_path(way: str) -> None:
    text = printed(caught(way))
    moved = text.replace(str(ROOT), "/opt/deploy/releases/17")
    assert moved != text
    assert (of_text(text).group_key, of_text(text).replay_key) == (
        of_text(moved).group_key,
        of_text(moved).replay_key,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_printed_traceback_names_the_same_cause(way: str) -> None:
    live, read = signature(caught(way)).basis, of_text(printed(caught(way))).basis
    assert read.type == live.type
    assert read.template == live.template
    assert read.context == live.context


#: Imports a package of the application and says, of each failure, its text and its live keys.
_LIVE = """
import json, sys, traceback
sys.path[:0] = [{root!r}, {site!r}]
from shop import failing
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import signature_of
found = {{}}
for way, function in failing.WAYS.items():
    try:
        function(1)
    except BaseException as error:
        live = signature_of(Failure.from_exception(error, source="task", component="shop"))
        text = "".join(traceback.format_exception(error))
        found[way] = [text, live.group_key, live.replay_key]
print(json.dumps(found))
"""


def _live_and_printed(site: Path) -> dict[str, list[str]]:
    (site / "shop").mkdir(parents=True)
    (site / "shop" / "__init__.py").touch()
    shutil.copy(HERE / "failing.py", site / "shop")
    code = _LIVE.format(root=str(ROOT), site=str(site))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_printed_traceback_has_the_live_keys_where_its_files_are_here(tmp_path: Path) -> None:
    found = _live_and_printed(tmp_path / "site")
    assert len(found) == len(WAYS)
    for way, (text, group_key, replay_key) in found.items():
        read = sources.complete(Failure.from_text(text, source="cli", component="shop"))
        assert "those of the live failure" in read.reason, way
        keys = signature_of(read.failure)
        assert (keys.group_key, keys.replay_key) == (group_key, replay_key), way


def test_a_printed_traceback_says_why_its_keys_are_not_the_live_ones(tmp_path: Path) -> None:
    found = _live_and_printed(tmp_path / "site")
    file = tmp_path / "site" / "shop" / "failing.py"
    text, group_key, _ = found["decorated"]
    failure = Failure.from_text(text, source="cli", component="shop")
    file.write_text("# one line more\n" + file.read_text())
    changed = sources.complete(failure)
    assert "is not what was printed" in changed.reason
    assert signature_of(changed.failure) == signature_of(failure)
    file.unlink()
    gone = sources.complete(failure)
    assert "is not on this machine" in gone.reason
    assert signature_of(gone.failure).group_key != group_key


#: Runs under another Python that has none of our dependencies: the keys need none of them.
_ELSEWHERE = """
import json, sys, types, uuid
sys.path[:0] = [{root!r}, {here!r}]
stand_in = types.ModuleType("uuid_utils"); stand_in.uuid7 = uuid.uuid4
sys.modules["uuid_utils"] = stand_in
import failing, traceback
from homeostat.incidents.failure import Failure
from homeostat.incidents.signature import signature_of
found = {{}}
for way, function in failing.WAYS.items():
    try:
        function(1)
    except BaseException as error:
        live = signature_of(Failure.from_exception(error, source="task", component="shop"))
        text = "".join(traceback.format_exception(error))
        read = signature_of(Failure.from_text(text, source="task", component="shop"))
        found[way] = [live.group_key, live.replay_key, read.group_key, read.replay_key]
print(json.dumps(found))
"""


def _python(version: str) -> str | None:
    found = shutil.which(f"python{version}")
    candidates = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for path in [*([found] if found else []), *map(str, candidates)]:
        done = subprocess.run([path, "-c", "pass"], capture_output=True, check=False)
        if done.returncode == 0:
            return path
    return None


def _keys_under(python: str, seed: str) -> dict[str, list[str]]:
    code = _ELSEWHERE.format(root=str(ROOT), here=str(HERE))
    done = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_restart_changes_no_key() -> None:
    assert _keys_under(sys.executable, "1") == _keys_under(sys.executable, "2")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_another_python_has_the_same_keys(version: str) -> None:
    python = _python(version)
    if python is None:
        pytest.skip(f"Python {version} is not on this machine")
    assert _keys_under(python, "0") == _keys_under(sys.executable, "0")


class Failing(Component):
    """Its probe raises, or does not pass; it is booted and checked by the real machinery."""

    spec = ComponentSpec(name="failing", wing=Wing.PLUGINS, tier=0, summary="Fails.")
    how: ClassVar[str] = ""

    def probe(self, session: Session) -> Evidence:
        del session
        if self.how == "raises":
            raise LookupError("the pump is dry")
        return Evidence(claim="the pump runs", passed=False, observed={"litres": 3})

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        raise NotImplementedError


def refuse(evidence: Any) -> None:
    raise ProbeFailedError(f"plugins.failing: {evidence.claim} did not hold: {evidence.observed}")


@pytest.mark.parametrize("how", ["raises", "does not pass"])
def test_boot_and_check_see_one_failure(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Failing, "how", how)
    component = Failing(Context(settings=homeostat_settings(), find=lambda _: component))
    session: Any = None
    tick = Tick("entry", utcnow(), 5)
    found = []
    for step, task in (
        (lambda: Component.boot(component, session), None),
        (lambda: run_check(session, component, tick), "checks.plugins.failing"),
    ):
        try:
            refuse(step())
        except (LookupError, ProbeFailedError) as error:
            failure = Failure.from_exception(
                error, source="boot", component="plugins.failing", task=task
            )
            found.append(signature_of(failure))
    # This test's own frames are not the machinery's.
    here = {"test_boot_and_check_see_one_failure", "refuse"}
    frames = [
        [frame for frame in one.basis.frames if frame.split(":")[-1].split(".")[0] not in here]
        for one in found
    ]
    assert frames[0] == frames[1] == ([f"{__name__}:Failing.probe"] if how == "raises" else [])
    assert found[0].basis.task == found[1].basis.task == "plugins.failing"
    assert found[0].basis.template == found[1].basis.template
