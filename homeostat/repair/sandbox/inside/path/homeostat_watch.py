"""Runs inside the sandbox: says which of the watched lines ran, and where parameters ended up.

One JSON line of kind `watched` on the inherited descriptor when the program ends. Standard
library only, and Python 3.8 upwards.
"""

import atexit
import dis
import json
import os
import sys

_OWNER = os.getpid()


def _emit(record):
    if os.getpid() != _OWNER:
        return
    try:
        os.write(int(os.environ["HOMEOSTAT_RECORD_FD"]), (json.dumps(record) + "\n").encode())
    except (OSError, KeyError, ValueError):
        pass


_seen_lines = {}
_carried = {}


def watch():
    """Trace the lines and parameters named in HOMEOSTAT_WATCH.

    A trace function costs at every call of the program, so with `lazy` (pytest, which imports
    what it runs) tracing begins when a watched file is first imported, and only functions that
    hold a watched line are followed line by line.
    """
    order = json.loads(os.environ.pop("HOMEOSTAT_WATCH"))
    wanted = {name: set(lines) for name, lines in order.get("lines", {}).items()}
    _seen_lines.update({name: set() for name in wanted})
    by_function = {}
    for item in order.get("parameters", []):
        by_function.setdefault(item["function"], []).append(item["name"])
    concerned = {}

    def concerns(code):
        if code not in concerned:
            lines = {line for _, line in dis.findlinestarts(code)} | {code.co_firstlineno}
            name = getattr(code, "co_qualname", code.co_name)
            concerned[code] = bool(lines & wanted[code.co_filename]) or name in by_function
        return concerned[code]

    def local(frame, event, argument):
        _seen_lines[frame.f_code.co_filename].add(frame.f_lineno)
        if event == "return":
            qualname = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
            for name in by_function.get(qualname, ()):
                _observe(qualname, name, frame, argument)
        return local

    def tracer(frame, event, argument):
        if frame.f_code.co_filename not in wanted:
            return None
        _seen_lines[frame.f_code.co_filename].add(frame.f_lineno)
        return local if concerns(frame.f_code) else None

    atexit.register(_report_watched)
    if order.get("lazy"):
        _trace_from_first(tracer, frozenset(wanted))
    else:
        sys.settrace(tracer)


def _trace_from_first(tracer, files):
    """Begin to trace when the code of one of the files is first executed."""
    begun = []

    def hook(event, arguments):
        if event != "exec" or begun:
            return
        if getattr(arguments[0], "co_filename", None) in files:
            begun.append(True)
            sys.settrace(tracer)

    sys.addaudithook(hook)


def _observe(qualname, name, frame, returned):
    if name not in frame.f_locals:
        return
    value = frame.f_locals[name]
    key = qualname + ":" + name
    if value is None or isinstance(value, bool):
        _carried.setdefault(key, "only None or a boolean was passed")
        return
    places = {"the returned value": returned}
    if "self" in frame.f_locals:
        places["the object"] = getattr(frame.f_locals["self"], "__dict__", None)
    for place, holder in places.items():
        if _holds(holder, value, 0):
            _carried[key] = place
            return
    _carried.setdefault(key, "")


def _holds(holder, value, depth):
    if holder is value:
        return True
    if depth > 3 or holder is None:
        return False
    if isinstance(holder, dict):
        return any(_holds(item, value, depth + 1) for item in list(holder.values())[-200:])
    if isinstance(holder, (list, tuple, set, frozenset)):
        return any(_holds(item, value, depth + 1) for item in list(holder)[-200:])
    inner = getattr(holder, "__dict__", None)
    return isinstance(inner, dict) and _holds(inner, value, depth + 1)


def _report_watched():
    sys.settrace(None)
    lines = {name: sorted(numbers) for name, numbers in _seen_lines.items()}
    _emit({"kind": "watched", "lines": lines, "carried": _carried})
