"""Runs inside the sandbox, before the target: limits, the private copy, the unprivileged user.

Standard library only, and started with `-I -S`, so that nothing of the target's is imported. The
one argument is a JSON object: `limits` (resource name → value), `uid` (null: keep), `folders` (a
folder whose folders are made in `cwd`, or null), `copies` (pairs of source folder and
destination), `deleted` (paths), `cwd`, `command`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys


def lay_out(copies: list[list[str]], deleted: list[str]) -> None:
    """Copy folders over one another, and delete files."""
    for source, destination in copies:
        subprocess.run(
            ["cp", "-R", "--preserve=timestamps", "--no-target-directory", source, destination],
            check=True,
        )
    for path in deleted:
        os.unlink(path)
        # A package that has lost its last module must not stay as a namespace package.
        try:
            os.removedirs(os.path.dirname(path))
        except OSError:
            pass


def make_folders(source: str, destination: str) -> None:
    """Make the folders of `source`, without a file in them.

    An interpreter that starts notes them as places to import from, and finds nothing there yet.
    """
    for folder, _, _ in os.walk(source):
        os.makedirs(os.path.join(destination, os.path.relpath(folder, source)), exist_ok=True)


def main() -> None:
    """Set the scene and become the target's command; never returns."""
    order = json.loads(sys.argv[1])
    os.umask(0o022)
    if order["uid"] is not None:
        os.chown(order["cwd"], order["uid"], order["uid"])
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    if order["folders"] is not None:
        make_folders(order["folders"], order["cwd"])
    lay_out(order["copies"], order["deleted"])
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
