"""Runs inside the sandbox, in the target's interpreter: waits for one order, and carries it out.

Pytest and its installed plugins are imported while the folders of the target are still empty, so
that nothing of the target has run before the order. Then the tree is laid out. The order (one JSON
object on the inherited descriptor) brings the patch, the command and its environment. Where
pytest's own modules would have come from the target, or the command is another, it is executed in
a new interpreter, as without all this. Standard library only, and Python 3.8 upwards.
"""

import sys

BEFORE = set(sys.modules)

import importlib  # noqa: E402 - what comes after is imported early, and may stand in the target too
import importlib.metadata  # noqa: E402 - as above
import json  # noqa: E402 - as above
import os  # noqa: E402 - as above
import runpy  # noqa: E402 - as above

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import launcher  # noqa: E402 - it lies beside the folder of this module

sys.path.pop()
# The target may have a module of this name.
del sys.modules["launcher"]

#: What pytest and the recorder read when they run, not when they are imported.
OF_THE_ORDER = {"PYTEST_ADDOPTS", "HOMEOSTAT_WATCH", "HOMEOSTAT_FIRST"}


def warm():
    """Import pytest, its own plugins and the installed ones; return whether that went well."""
    try:
        import pytest  # noqa: F401
        from _pytest.config import default_plugins

        for name in default_plugins:
            importlib.import_module("_pytest." + name)
    except Exception:
        return False
    if not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        for distribution in importlib.metadata.distributions():
            for point in distribution.entry_points:
                if point.group == "pytest11":
                    _try(point.load)
                    # Some import the rest of their package when the session ends.
                    name = distribution.metadata["Name"].replace("-", "_")
                    _try(lambda name=name: importlib.import_module(name))
    return True


def _try(load):
    try:
        load()
    except BaseException:  # noqa: S110 - even a skip; pytest will say so itself
        pass


def shadowed(root):
    """Whether the target has a module of the name of one that was imported here before it came."""
    loaded = {name.partition(".")[0] for name in set(sys.modules) - BEFORE}
    for entry in sys.path:
        if entry != root and not entry.startswith(root + os.sep):
            continue
        try:
            names = os.listdir(entry)
        except OSError:
            continue
        for name in names:
            if name.partition(".")[0] in loaded and _importable(os.path.join(entry, name)):
                return True
    return False


def _importable(path):
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, "__init__.py"))
    return path.endswith((".py", ".so"))


def fits(words, env):
    """Whether what was imported here is what the command would import, as it would."""
    other = {name for name in env if env[name] != os.environ.get(name)}
    return (
        words[:3] == [sys.executable, "-m", "pytest"]
        and other <= OF_THE_ORDER
        # Else it rewrites the plugins as it imports them, and warns where they are there already.
        and "--assert=plain" in env.get("PYTEST_ADDOPTS", "").split()
    )


def read(descriptor):
    """Return the order; where none came, there is nothing to do."""
    with os.fdopen(descriptor, "rb") as pipe:
        text = pipe.read()
    if not text:
        sys.exit(0)
    return json.loads(text)


def main():
    """Get ready, wait, and become the command."""
    root = os.getcwd()
    is_warm = warm()
    tree, descriptor = sys.argv[1], int(sys.argv[2])
    launcher.lay_out([[tree, root]], [])
    order = read(descriptor)
    launcher.lay_out(order["copies"], order["deleted"])
    words, env = order["command"], {**os.environ, **order["env"]}
    if not (is_warm and fits(words, env) and not shadowed(root)):
        os.execvpe(words[0], words, env)
    os.environ.update(env)
    importlib.invalidate_caches()
    if env.get("HOMEOSTAT_WATCH"):
        import homeostat_watch

        homeostat_watch.watch()
    sys.argv = words[2:]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
