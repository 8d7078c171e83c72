"""Hears one of the known phrases in a recording: pocketsphinx with a closed grammar.

`python -m homeostat.supervision.recogniser < phrase.wav` prints what was heard. It is a process
of its own because its models take 130 MB, which a pool child would otherwise keep for good.
"""

from __future__ import annotations

import io
import sys
import wave
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

#: What pocketsphinx's model was trained on, in Hz.
RATE = 16_000
#: Half a second of room before and after a phrase, in samples.
_ROOM = RATE // 2
#: Standard deviation of the room's noise, in sample values. The model was trained on real rooms:
#: over digital silence it heard 46 of the 47 phrases in this voice and 11 in the plain one, over
#: this noise 47 in both.
_NOISE = 60.0
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


def recognise(recording: bytes) -> str:
    """Return the known phrase that the WAV file holds, or an empty text where none is heard.

    Raises ImportError where pocketsphinx is missing.
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
    from pocketsphinx import Decoder, get_model_path

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


def main() -> None:
    """Print the phrase in the recording on standard input."""
    sys.stdout.write(recognise(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()
