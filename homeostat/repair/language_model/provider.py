"""The port to a language model: what is asked, what comes back, and how it may fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from homeostat.errors import HomeostatError


class ProviderError(HomeostatError):
    """The model gave no usable answer; the message says why, and becomes the refusal's reason."""


@dataclass(frozen=True)
class Question:
    """The two parts of a prompt; both are free of secrets."""

    system: str
    user: str


@dataclass(frozen=True)
class Answer:
    """A model's text, and the tokens that question and answer took."""

    text: str
    tokens: int


class Provider(Protocol):
    """A language model that can be asked."""

    def ask(self, question: Question) -> Answer:
        """Return the answer; raises ProviderError where there is none."""
