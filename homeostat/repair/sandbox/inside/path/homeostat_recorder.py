"""Runs inside the sandbox, in the target's interpreter: tells the outside what happened.

A pytest plugin (`-p homeostat_recorder`) and a function for `sitecustomize`. Each record is one
JSON line on the inherited descriptor: `failure` (the exception chain with frames, the called
definition and the object that lacked an attribute), `outcome` (one per test), `collected` (test
ids) and `watched` (which lines ran, and whether a parameter's value was carried on). Standard
library only, and Python 3.8 upwards.
"""

import ast
import atexit
import functools
import json
import linecache
import os
import sys
import types

#: Where this is its plugin it is there; a plain program need not wait for its import.
pytest = sys.modules.get("pytest")

_LONGEST_MESSAGE = 2000
_MOST_FRAMES = 60
_MOST_CAUSES = 8
_OWNER = os.getpid()
_FIRST = json.loads(os.environ.pop("HOMEOSTAT_FIRST", "{}"))


def _goes_first(item):
    return item.nodeid.partition("::")[0] in _FIRST.get("files", ())


def _emit(record):
    if os.getpid() != _OWNER:
        return
    data = (json.dumps(record, default=str) + "\n").encode()
    try:
        descriptor = int(os.environ["HOMEOSTAT_RECORD_FD"])
        while data:
            data = data[os.write(descriptor, data) :]
    except (OSError, KeyError, ValueError):
        pass


def _file_of(module_name):
    module = sys.modules.get(module_name or "")
    return getattr(module, "__file__", None)


def describe(thing):
    """Say where `thing` (a function, method, class or module) is defined."""
    while True:
        if isinstance(thing, functools.partial):
            thing = thing.func
        elif isinstance(thing, (types.MethodType, classmethod, staticmethod)):
            thing = thing.__func__
        elif hasattr(thing, "__wrapped__") and not isinstance(thing, type):
            thing = thing.__wrapped__
        else:
            break
    if isinstance(thing, types.ModuleType):
        return {
            "kind": "module",
            "module": thing.__name__,
            "qualname": "",
            "file": getattr(thing, "__file__", None),
        }
    if isinstance(thing, type):
        for name in ("__init__", "__new__"):
            function = getattr(thing, name, None)
            if isinstance(function, types.FunctionType):
                found = describe(function)
                found["class"] = thing.__qualname__
                found["mro"] = _mro(thing)
                return found
        return _class_record(thing)
    code = getattr(thing, "__code__", None)
    if code is None:
        return {
            "kind": "builtin",
            "module": getattr(thing, "__module__", None),
            "qualname": getattr(thing, "__qualname__", type(thing).__qualname__),
            "file": None,
        }
    return {
        "kind": "function",
        "module": thing.__module__,
        "qualname": thing.__qualname__,
        "file": code.co_filename,
        "line": code.co_firstlineno,
    }


def _mro(cls):
    return [
        {
            "module": base.__module__,
            "qualname": base.__qualname__,
            "file": _file_of(base.__module__),
        }
        for base in cls.__mro__
        if base is not object
    ]


def _class_record(cls):
    return {
        "kind": "class",
        "module": cls.__module__,
        "qualname": cls.__qualname__,
        "file": _file_of(cls.__module__),
        "mro": _mro(cls),
    }


def _owner_record(thing):
    if isinstance(thing, types.ModuleType):
        return describe(thing)
    if isinstance(thing, type):
        return _class_record(thing)
    record = _class_record(type(thing))
    record["kind"] = "instance"
    return record


def _failing_expression(trace):
    """Return the source of the expression that failed, from the bytecode's positions."""
    code = trace.tb_frame.f_code
    positions = getattr(code, "co_positions", None)
    if positions is None:
        return None
    first, last, start, end = list(positions())[trace.tb_lasti // 2]
    if None in (first, last, start, end):
        return None
    lines = [linecache.getline(code.co_filename, number) for number in range(first, last + 1)]
    raw = [line.encode() for line in lines]
    if not raw:
        return None
    raw[-1] = raw[-1][:end]
    raw[0] = raw[0][start:]
    return b"".join(raw).decode(errors="replace")


def _is_path(node):
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _called(trace):
    """Find the object that the failing call expression calls; None where it cannot be told."""
    source = _failing_expression(trace)
    if not source:
        return None
    node = ast.parse("(" + source + ")", mode="eval").body
    if not isinstance(node, ast.Call):
        return None
    frame = trace.tb_frame
    target = node.func
    if (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Call)
        and isinstance(target.value.func, ast.Name)
        and target.value.func.id == "super"
    ):
        first = frame.f_code.co_varnames[0]
        owner = super(frame.f_locals["__class__"], frame.f_locals[first])
        return getattr(owner, target.attr)
    if not _is_path(target):
        return None
    expression = compile(ast.Expression(target), "<failing call>", "eval")
    return eval(expression, frame.f_globals, frame.f_locals)  # noqa: S307 - inside the sandbox


def _frames(trace):
    found = []
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append(
            {
                "file": code.co_filename,
                "line": trace.tb_lineno,
                "function": getattr(code, "co_qualname", code.co_name),
                "first_line": code.co_firstlineno,
                "module": trace.tb_frame.f_globals.get("__name__", ""),
                "code": linecache.getline(code.co_filename, trace.tb_lineno).strip(),
            }
        )
        trace = trace.tb_next
    if len(found) > _MOST_FRAMES:
        half = _MOST_FRAMES // 2
        found = found[:half] + found[-half:]
    return found


def _error_record(error):
    kind = type(error)
    record = {
        "type": kind.__name__,
        "module": kind.__module__,
        "message": _message(error),
        "frames": _frames(error.__traceback__),
    }
    if isinstance(error, ImportError):
        record["import_name"], record["import_path"] = error.name, error.path
    if isinstance(error, NameError):
        record["name"] = getattr(error, "name", None)
    if isinstance(error, AttributeError):
        record["name"] = getattr(error, "name", None)
        if getattr(error, "obj", None) is not None:
            record["owner"] = _owner_record(error.obj)
    if isinstance(error, TypeError) and error.__traceback__ is not None:
        try:
            trace = error.__traceback__
            while trace.tb_next is not None:
                trace = trace.tb_next
            called = _called(trace)
            if called is not None:
                record["callee"] = describe(called)
        except Exception:  # noqa: S110 - a hint only; any object may misbehave when asked
            pass
    return record


def _message(error):
    try:
        return str(error)[:_LONGEST_MESSAGE]
    except Exception:
        return ""


def _chain(error):
    """Return the exceptions from the outermost to its innermost cause."""
    found, seen = [], set()
    while error is not None and id(error) not in seen and len(found) < _MOST_CAUSES:
        seen.add(id(error))
        found.append(error)
        if error.__cause__ is not None:
            error = error.__cause__
        elif not error.__suppress_context__:
            error = error.__context__
        else:
            error = None
    return found


def record_failure(error, nodeid, when):
    """Tell the outside of an exception and its causes."""
    chain = []
    for item in _chain(error):
        try:
            chain.append(_error_record(item))
        except Exception as problem:
            chain.append({"type": type(item).__name__, "message": repr(problem), "frames": []})
    _emit({"kind": "failure", "nodeid": nodeid, "when": when, "chain": chain})


def _rewrite_only_what_is_not_installed():
    """Keep pytest from rewriting the assertions of installed plugins in each run.

    It would cache them beside their sources, which are read-only here, and hypothesis alone takes
    a second. Only the wording of an assertion that fails inside a plugin is lost. A rewriting is
    not traced either.
    """
    from _pytest.assertion import rewrite

    hook = rewrite.AssertionRewritingHook
    # pytest has no switch for this, hence the private names.
    decide, rewritten = hook._should_rewrite, rewrite._rewrite_test  # noqa: SLF001 - as above

    def should_rewrite(self, name, fn, state):
        path = str(fn)
        installed = "site-packages" in path or "dist-packages" in path
        if installed and not os.path.basename(path).startswith(("test_", "conftest")):
            return False
        return decide(self, name, fn, state)

    def rewrite_untraced(*arguments):
        tracer = sys.gettrace()
        sys.settrace(None)
        try:
            return rewritten(*arguments)
        finally:
            sys.settrace(tracer)

    hook._should_rewrite, rewrite._rewrite_test = (  # noqa: SLF001 - as above
        should_rewrite,
        rewrite_untraced,
    )


def leave(status):
    """End with a status that says failed, without taking the interpreter apart.

    That takes a fifth of a long run, and a program that has failed cannot pass by it. To be called
    when the program's threads have ended and its own exit functions have run.
    """
    if status == 0 or os.getpid() != _OWNER:
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110 - closed or taken away: nothing is held back
            pass
    os._exit(status)


_sessions = []

if pytest is not None:
    try:
        _rewrite_only_what_is_not_installed()
    except (ImportError, AttributeError):  # another pytest: it is only slower
        pass

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests():
        """See an exception that a conftest raises before the session begins."""
        outcome = yield
        if outcome.excinfo is not None:
            record_failure(outcome.excinfo[1], "conftest", "load")

    def pytest_exception_interact(node, call):
        """Record the exception of a failed test or of a failed collection."""
        record_failure(call.excinfo.value, node.nodeid, call.when)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items):
        """Put the tests of the files that were asked for first, first."""
        items.sort(key=lambda item: not _goes_first(item))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(item, nextitem):
        """Leave the others out where one of those failed and that was asked for."""
        yield
        turn = nextitem is not None and _goes_first(item) and not _goes_first(nextitem)
        if turn and _FIRST.get("stop") and _FIRST.get("failed"):
            _emit({"kind": "ended_early"})
            item.session.shouldstop = "a test that goes first failed"

    def pytest_collection_finish(session):
        """Record which tests there are."""
        _emit({"kind": "collected", "ids": [item.nodeid for item in session.items]})

    def pytest_runtest_logreport(report):
        """Record each test's outcome; a failed set-up or tear-down counts as the test's."""
        if report.when == "call" or report.failed or (report.when == "setup" and report.skipped):
            outcome = "error" if report.when != "call" and report.failed else report.outcome
            if hasattr(report, "wasxfail"):
                outcome = "x" + outcome
            if outcome in {"failed", "error"}:
                _FIRST["failed"] = True
            _emit({"kind": "outcome", "nodeid": report.nodeid, "outcome": outcome})

    def pytest_sessionfinish(session, exitstatus):
        """Record that the session came to its end, and how."""
        _emit({"kind": "finished", "exitstatus": int(exitstatus)})
        _sessions.append(session)

    # It is registered before those of the target, so that it is called after them.
    @atexit.register
    def _leave():
        """End a failed `python -m pytest` at once."""
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        if _sessions and getattr(spec, "name", "") == "pytest.__main__":
            leave(int(_sessions[-1].exitstatus))
