"""Speech without a network: espeak-ng says a text, pocketsphinx hears one of the known phrases.

Both are optional. What is missing is named, so that text-only is said and never guessed.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from homeostat.errors import HomeostatError

#: What pocketsphinx's model was trained on, in Hz.
RATE = 16_000
#: Words a minute: slower than espeak-ng's own 175, because the recogniser then errs less.
_SPEED = 140
#: Of the voices tried, the recogniser mishears this one least (47 of 47 phrases, see _NOISE).
_VOICE = "en-us+f2"
#: Half a second of room before and after a phrase, in samples.
_ROOM = RATE // 2
#: Standard deviation of the room's noise, in sample values. The model was trained on real rooms:
#: over digital silence it heard 46 of the 47 phrases in this voice and 11 in the plain one, over
#: this noise 47 in both.
_NOISE = 60.0
_SAY_TIMEOUT_S = 10
_FRAMES_A_SECOND = 100

#: The phrases that can be recognised, as a JSGF grammar. A closed grammar hears far better than
#: free dictation, and what it does not know it must not guess an approval from.
GRAMMAR = """#JSGF V1.0;
grammar homeostat;
public <phrase> = <ask> | <decide> | <confirm>;
<ask> = status | what broke | what waits | why was the <thing> blocked;
<decide> = (approve | reject) number <number>;
<confirm> = yes (approve | reject) number <number>;
<thing> = trade | fix | restart | plan;
<number> = one | two | three | four | five | six | seven | eight | nine | ten;
"""


#: A closed grammar fits some phrase to any sound. What a free run of phones explains better by
#: more than this, per frame and in the decoder's log units, was none of the phrases: measured
#: over the 47 phrases (none below -0.0001) and 15 others (14 below -0.00029).
_FLOOR = -0.0002


class SpeechUnavailableError(HomeostatError):
    """Speech is not installed; install espeak-ng and the Python package pocketsphinx."""

    exit_code = 69


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

    Raises SpeechUnavailableError where pocketsphinx is missing.
    """
    phrases, phones = _decoders()
    samples = _in_a_room(_samples(recording))
    heard = _decoded(phrases, samples)
    if heard is None:
        return ""
    free = _decoded(phones, samples)
    frames = samples.size / (RATE / _FRAMES_A_SECOND)
    if free is not None and (heard.best_score - free.best_score) / frames < _FLOOR:
        return ""
    return str(heard.hypstr)


def _decoded(decoder: Any, samples: npt.NDArray[np.int16]) -> Any:
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    return decoder.hyp()


@lru_cache(maxsize=1)
def _decoders() -> tuple[Any, Any]:
    """Return the decoder of the known phrases, and one of any phones in any order."""
    try:
        from pocketsphinx import Decoder, get_model_path
    except ImportError as error:
        raise SpeechUnavailableError from error
    model = {
        "hmm": get_model_path("en-us/en-us"),
        "dict": get_model_path("en-us/cmudict-en-us.dict"),
        "samprate": RATE,
        "loglevel": "FATAL",
        # The mean is taken over the whole phrase, not carried over from the one before.
        "cmn": "batch",
    }
    phones = Decoder(
        **model,
        lm=None,
        allphone=get_model_path("en-us/en-us-phone.lm.bin"),
        lw=2.0,
        beam=1e-20,
        pbeam=1e-20,
    )
    phrases = Decoder(
        **model,
        # A closed grammar is small, so the search may be wide.
        beam=1e-60,
        wbeam=1e-40,
        pbeam=1e-60,
    )
    phrases.add_jsgf_string("homeostat", GRAMMAR)
    phrases.activate_search("homeostat")
    return phrases, phones


def _in_a_room(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    padded = np.pad(samples, _ROOM)
    # The same noise each time, so that a recording is heard the same each time.
    padded += _NOISE * np.random.default_rng(1).standard_normal(padded.size)
    return np.clip(padded, -32768, 32767).astype(np.int16)


def _samples(recording: bytes) -> npt.NDArray[np.float64]:
    with wave.open(io.BytesIO(recording)) as file:
        rate = file.getframerate()
        # A WAV file that was streamed does not know its own length, so all that is there is read.
        raw = file.readframes(len(recording))
    found = np.frombuffer(raw, dtype=np.int16).astype(np.float64)
    if rate == RATE or found.size == 0:
        return found
    # Resampled in the frequency domain: what lies above the new limit is cut, not folded back.
    wanted = int(found.size * RATE / rate)
    spectrum = np.fft.rfft(found)
    kept = np.zeros(wanted // 2 + 1, dtype=complex)
    shared = min(spectrum.size, kept.size)
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, wanted) * (wanted / found.size)
