"""Speech without a network: espeak-ng says a text, pocketsphinx hears one of the known phrases.

Both are optional. What is missing is named, so that text-only is said and never guessed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from concurrent.futures import Future
from importlib.util import find_spec

from homeostat.errors import HomeostatError

#: Words a minute: slower than espeak-ng's own 175, because the recogniser then errs less.
_SPEED = 140
#: Of the voices tried, the recogniser mishears this one least: 47 of 47 phrases.
_VOICE = "en-us+f2"
_SAY_TIMEOUT_S = 10
#: Loading the models is 1 to 2 s of it; more than this is a recogniser that hangs.
_HEAR_TIMEOUT_S = 15


class SpeechUnavailableError(HomeostatError):
    """Speech is not installed; install espeak-ng and the Python package pocketsphinx."""

    exit_code = 69


class Rehearsal:
    """Says a phrase and hears it, in a thread of its own from the moment it is made."""

    def __init__(self, phrase: str) -> None:
        self.phrase = phrase
        self._answer: Future[str] = Future()
        threading.Thread(target=self._work, daemon=True, name="rehearsal").start()

    def _work(self) -> None:
        try:
            self._answer.set_result(hear(say(self.phrase)))
        except BaseException as error:  # noqa: BLE001  # handed over to who waits
            self._answer.set_exception(error)

    def heard(self) -> str:
        """Return what was heard; raises SpeechUnavailableError."""
        return self._answer.result()


def missing() -> list[str]:
    """Return what speech lacks on this machine, nothing where it works."""
    lacks = []
    if shutil.which("espeak-ng") is None:
        lacks.append("espeak-ng")
    if find_spec("pocketsphinx") is None:
        lacks.append("pocketsphinx")
    return lacks


def say(text: str) -> bytes:
    """Return the text as a WAV file; raises SpeechUnavailableError."""
    if shutil.which("espeak-ng") is None:
        raise SpeechUnavailableError
    done = subprocess.run(
        ["espeak-ng", "-v", _VOICE, "-s", str(_SPEED), "--stdout", "--", text],
        capture_output=True,
        timeout=_SAY_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise SpeechUnavailableError(f"espeak-ng failed: {done.stderr.decode(errors='replace')}")
    return done.stdout


def hear(recording: bytes) -> str:
    """Return the known phrase that the WAV file holds, or an empty text where none is heard.

    The recogniser is a process of its own, because its models take 130 MB. Raises
    SpeechUnavailableError where pocketsphinx is missing or fails.
    """
    if find_spec("pocketsphinx") is None:
        raise SpeechUnavailableError
    try:
        done = subprocess.run(
            [sys.executable, "-m", "homeostat.supervision.recogniser"],
            input=recording,
            capture_output=True,
            timeout=_HEAR_TIMEOUT_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise SpeechUnavailableError(
            f"The recogniser gave no answer within {_HEAR_TIMEOUT_S} s."
        ) from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SpeechUnavailableError(f"The recogniser failed: {' '.join(last)}") from error
    return done.stdout.decode()
