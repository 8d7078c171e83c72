"""Runs inside the sandbox, before the target: limits, the private copy, the unprivileged user.

Standard library only, and started with `-I -S`, so that nothing of the target's is imported. The
one argument is a JSON object: `limits` (resource name → value), `uid` (null: keep), `copies`
(pairs of source folder and destination), `deleted` (paths), `cwd`, `command`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys


def main() -> None:
    """Set the scene and become the target's command; never returns."""
    order = json.loads(sys.argv[1])
    os.umask(0o022)
    if order["uid"] is not None:
        os.chown(order["cwd"], order["uid"], order["uid"])
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    for source, destination in order["copies"]:
        subprocess.run(
            ["cp", "-R", "--preserve=timestamps", "--no-target-directory", source, destination],
            check=True,
        )
    for path in order["deleted"]:
        os.unlink(path)
        # A package that has lost its last module must not stay as a namespace package.
        try:
            os.removedirs(os.path.dirname(path))
        except OSError:
            pass
    for folder in (os.environ["HOME"], os.environ["TMPDIR"]):
        os.makedirs(folder, exist_ok=True)
    os.makedirs(order["cwd"], exist_ok=True)
    os.chdir(order["cwd"])
    for name, value in order["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    try:
        os.execvpe(order["command"][0], order["command"], os.environ)
    except OSError as error:
        # As a shell does, so that it is not taken for a failure of the target's own.
        sys.stderr.write("%s: %s\n" % (order["command"][0], error.strerror))
        sys.exit(127)


if __name__ == "__main__":
    main()
