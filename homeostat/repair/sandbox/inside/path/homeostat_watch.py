"""Runs inside the sandbox: says which of the watched lines ran, and where parameters ended up.

One JSON line of kind `watched` on the inherited descriptor when the program ends. Standard
library only, and Python 3.8 upwards.
"""

import _thread
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

    A trace function costs at every call of the program: a third of a long import. So it is on only
    while something can still be seen: from the first execution of a watched file's code to the last
    of its watched lines; and only functions that hold one are followed line by line.
    """
    order = json.loads(os.environ.pop("HOMEOSTAT_WATCH"))
    wanted = {name: set(lines) for name, lines in order.get("lines", {}).items()}
    _seen_lines.update({name: set() for name in wanted})
    by_function = {}
    for item in order.get("parameters", []):
        by_function.setdefault(item["function"], []).append(item["name"])
    concerned = {}
    left = {}
    following = set()
    main = _thread.get_ident()

    def awaited():
        """Whether code has been executed of which something is still to be seen."""
        return any(left.values()) or bool(left and by_function)

    def saw(frame):
        name, line = frame.f_code.co_filename, frame.f_lineno
        _seen_lines[name].add(line)
        if line in left.get(name, ()):
            left[name].discard(line)
            if not awaited() and sys.gettrace() is tracer:
                sys.settrace(None)

    def concerns(code):
        if code not in concerned:
            name = getattr(code, "co_qualname", code.co_name)
            found = bool(_own_lines(code) & wanted[code.co_filename])
            concerned[code] = found or name in by_function
        return concerned[code]

    def local(frame, event, argument):
        saw(frame)
        if event == "return":
            qualname = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
            for name in by_function.get(qualname, ()):
                _observe(qualname, name, frame, argument)
        return local

    def tracer(frame, event, argument):
        if frame.f_code.co_filename not in wanted:
            return None
        saw(frame)
        return local if concerns(frame.f_code) else None

    def executed(event, arguments):
        """Look for all that is still to be seen of the code that is executed now."""
        name = None
        if event == "exec":
            name = getattr(arguments[0], "co_filename", None)
        elif event == "cpython.run_file" and arguments[0]:
            # A program's own file is executed without its code being told.
            name = os.path.abspath(arguments[0])
        thread = _thread.get_ident()
        if name in wanted:
            lines = _lines(arguments[0]) if event == "exec" else wanted[name]
            left.setdefault(name, set()).update(lines & wanted[name] - _seen_lines[name])
            following.clear()
        elif not left or thread != main or thread in following:
            return
        # What another thread has imported is often used by the main one.
        following.add(thread)
        if awaited():
            sys.settrace(tracer)

    atexit.register(_report_watched)
    sys.addaudithook(executed)


def _own_lines(code):
    return {line for _, line in dis.findlinestarts(code)} | {code.co_firstlineno}


def _lines(code):
    """Return the lines that hold code, those of its functions and classes too."""
    found = _own_lines(code)
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            found |= _lines(constant)
    return found


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
