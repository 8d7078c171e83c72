"""An OpenAI-compatible endpoint: `POST {url}/chat/completions`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import httpx

from homeostat.repair.language_model.provider import Answer, ProviderError, Question

#: A patch is small; whatever is longer than this is not read to its end.
MOST_BYTES = 512 * 1024
#: Rough letters per token, where the endpoint does not say what it used.
_LETTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class ChatCompletions:
    """One endpoint; `timeout_s` bounds the whole exchange, `most_tokens` the answer."""

    url: str
    model: str
    key: str
    timeout_s: float = 60.0
    most_tokens: int = 4000

    def ask(self, question: Question) -> Answer:
        """Ask once; raises ProviderError where there is no answer."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        body = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": self.most_tokens,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": question.user},
            ],
        }
        address = f"{self.url.rstrip('/')}/chat/completions"
        try:
            with (
                httpx.Client(timeout=self.timeout_s, follow_redirects=False) as client,
                client.stream("POST", address, json=body, headers=headers) as response,
            ):
                raw = self._read(response)
        except httpx.TimeoutException as error:
            raise ProviderError(f"the model did not answer in {self.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderError(f"the model cannot be reached: {type(error).__name__}") from error
        return _answer(raw, question)

    def _read(self, response: httpx.Response) -> bytes:
        """Read the body up to the bounds of size and time; raises ProviderError beyond them."""
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise ProviderError("the model refuses for now (429, too many requests)")
        if response.status_code != httpx.codes.OK:
            raise ProviderError(f"the model's server answered {response.status_code}")
        end = time.monotonic() + self.timeout_s
        raw = bytearray()
        for piece in response.iter_bytes():
            raw += piece
            if len(raw) > MOST_BYTES:
                raise ProviderError(f"the answer is longer than {MOST_BYTES // 1024} KiB")
            # httpx bounds each read; a server that trickles would never end.
            if time.monotonic() > end:
                raise ProviderError(f"the model did not answer in {self.timeout_s:g} s")
        return bytes(raw)


def _answer(raw: bytes, question: Question) -> Answer:
    try:
        told = json.loads(raw)
        text = told["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ProviderError("the server's answer is no chat completion") from error
    if not isinstance(text, str):
        raise ProviderError("the model's answer holds no text")
    usage = told.get("usage") or {}
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    if not isinstance(tokens, int) or tokens < 0:
        letters = len(text) + len(question.system) + len(question.user)
        tokens = letters // _LETTERS_PER_TOKEN
    return Answer(text, tokens)
