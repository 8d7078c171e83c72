"""What is wrong with a database or a disk, in one sentence with what to do, for the doors.

Inside, such errors keep their own types, because retries and playbooks go by them.
"""

from __future__ import annotations

import errno

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from homeostat.settings import settings

#: By what SQLite and PostgreSQL say: what to do.
_ADVICE = {
    "malformed": "its file is damaged: restore a copy of it, or set HOMEOSTAT_STATE_DIR to another "
    "folder",
    "disk i/o error": "look at its disk, then try again",
    "is full": "make room on its disk, then try again",
    "no space left": "make room on its disk, then try again",
    "is locked": "another process holds it: try again, and see what runs by `homeostat status`",
    "permission denied": "let this user write there, or set HOMEOSTAT_STATE_DIR to another folder",
}
#: What no code of ours can help: a full or read-only disk, a file of somebody else's.
_OF_THE_DISK = {
    errno.ENOSPC: "make room there, then try again",
    errno.EDQUOT: "make room there, then try again",
    errno.EROFS: "let this user write there, or set HOMEOSTAT_STATE_DIR to another folder",
    errno.EACCES: "let this user write there, or set HOMEOSTAT_STATE_DIR to another folder",
}


def in_words(error: BaseException) -> str:
    """Return the sentence; empty where the error is none of these and its traceback is wanted."""
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        where = error.filename or settings().state_dir
        return f"{where}: {error.strerror}; {_OF_THE_DISK[error.errno]}."
    if not isinstance(error, DBAPIError):
        return ""
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else ""
    for sign, advice in _ADVICE.items():
        if sign in said.lower():
            where = make_url(settings().database).render_as_string()
            return f"The database at {where} cannot be used ({said}); {advice}."
    return ""
