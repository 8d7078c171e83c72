"""Makes an uncaught exception of any Python program in the sandbox known to the outside."""

import os

if os.environ.get("HOMEOSTAT_RECORD_FD"):
    import atexit
    import sys

    _failed = []

    # It is registered before all others, so that it is called after them.
    @atexit.register
    def _leave():
        if _failed:
            _failed[0](1)

    def _record_and_show(kind, error, trace, _show=sys.excepthook):
        import homeostat_recorder

        homeostat_recorder.record_failure(error, nodeid="", when="run")
        _show(kind, error, trace)
        # Called by the interpreter, and not by a program that goes on.
        at_the_end = sys._getframe().f_back is None and not sys.flags.inspect  # noqa: SLF001
        if at_the_end and issubclass(kind, Exception):
            _failed.append(homeostat_recorder.leave)

    sys.excepthook = _record_and_show
    if os.environ.get("HOMEOSTAT_WATCH"):
        import homeostat_watch

        homeostat_watch.watch()
