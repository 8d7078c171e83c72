"""Runs a module as a process that cannot outlive the process that started it.

`python -m workers.tether SIGKILL celery -A workers.app worker` asks the kernel to send the signal
when the parent dies, and then becomes that module. A supervisor that is killed itself cannot
stop its children any more; the kernel does.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

#: `man 2 prctl`: the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send `number` to this process when its parent dies; Linux only.

    It survives `exec` and is not inherited: each child has to ask for itself.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))


def main() -> None:
    """Tie this process to its parent and run the module named on the command line."""
    parent = os.getppid()
    name, module = sys.argv[1:3]
    die_with_parent(signal.Signals[name])
    if os.getppid() != parent:
        sys.exit("The process that started this one died in the same moment.")
    # runpy puts the module's own name in place of the first word.
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
