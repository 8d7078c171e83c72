"""Makes an uncaught exception of any Python program in the sandbox known to the outside."""

import os

if os.environ.get("HOMEOSTAT_RECORD_FD"):
    import sys

    def _record_and_show(kind, error, trace, _show=sys.excepthook):
        import homeostat_recorder

        homeostat_recorder.record_failure(error, nodeid="", when="run")
        _show(kind, error, trace)

    sys.excepthook = _record_and_show
    if os.environ.get("HOMEOSTAT_WATCH"):
        import homeostat_watch

        homeostat_watch.watch()
