"""The call that failed, where it can be made again: a function by name, and plain arguments."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from homeostat.incidents.redaction import MASK

if TYPE_CHECKING:
    from pydantic import JsonValue

#: Bytes of arguments, as JSON: a longer call is no line for a person to read or to run.
LARGEST = 4_000
_DEEPEST = 8
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Call:
    """A function of an importable module, with arguments of JSON's own types."""

    module: str
    function: str
    args: tuple[JsonValue, ...]
    kwargs: Mapping[str, JsonValue]

    @classmethod
    def read(cls, module: object, function: object, args: object, kwargs: object) -> Self | None:
        """Return the call; None where it cannot be made again from what is known of it.

        A name may be no importable one, an argument may be no plain value, too long, or a secret
        that was taken out. Never runs code of the arguments: only exact built-in types are plain.
        """
        names = (module, function)
        if not all(type(name) is str and _NAME.fullmatch(name) for name in names):
            return None
        if str(module) == "__main__" or "." in str(function):
            return None
        if type(args) not in {list, tuple} or type(kwargs) is not dict:
            return None
        if not (_is_plain(args, 0) and _is_plain(kwargs, 0) and all(map(str.isidentifier, kwargs))):
            return None
        text = json.dumps([args, kwargs])
        if len(text) > LARGEST or MASK in text:
            return None
        given, named = json.loads(text)
        return cls(str(module), str(function), tuple(given), named)

    @property
    def code(self) -> str:
        """A line of Python that makes the call."""
        given = [repr(value) for value in self.args]
        given += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"from {self.module} import {self.function}; {self.function}({', '.join(given)})"

    def as_json(self) -> dict[str, JsonValue]:
        """Return the call for the bundle."""
        return {
            "module": self.module,
            "function": self.function,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
        }


def call_in(content: Mapping[str, JsonValue]) -> Call | None:
    """Return the call of a bundle; None where none was captured, or it held a secret."""
    found: Any = content.get("call")
    if not isinstance(found, dict):
        return None
    return Call.read(*(found.get(part) for part in ("module", "function", "args", "kwargs")))


def _is_plain(value: object, depth: int) -> bool:
    if value is None or type(value) in {bool, int, str}:
        return True
    if type(value) is float:
        return math.isfinite(value)
    if depth == _DEEPEST:
        return False
    if type(value) in {list, tuple}:
        return all(_is_plain(item, depth + 1) for item in value)  # type: ignore[attr-defined]  # a list or a tuple
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item, depth + 1) for key, item in value.items())
    return False
