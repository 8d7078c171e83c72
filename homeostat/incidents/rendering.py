"""Values as text and JSON without running any code that is not Python's own.

A local variable may be of a class whose `__repr__` raises, hangs or returns a gigabyte. No time
limit helps against that inside a worker's only thread, so no such method is ever called: values of
built-in types are read through the built-in types' own slots, even on subclasses, and any other
object is shown by its type and its instance dictionary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from subprocess import CalledProcessError, TimeoutExpired
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, TypeGuard, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from pydantic import JsonValue

Kind = TypeVar("Kind")

LONGEST_TEXT = 2_000
LONGEST_MESSAGE = 64_000
LARGEST_INT_BITS = 512
ITEMS = 30
DEPTH = 4
NODES = 200

_NAME = type.__dict__["__name__"]
_QUALNAME = type.__dict__["__qualname__"]
_MRO = type.__dict__["__mro__"]
_DICT = type.__dict__["__dict__"]
ARGS = BaseException.__dict__["args"]
_SCALARS = (str, bytes, int, float, bool, type(None))
_TUPLES = (tuple, list)
#: The interpreter's own, whose place in the source is no part of what they say.
_SYNTAX = frozenset({SyntaxError, IndentationError, TabError})
#: Their text is the standard library's, and made of their attributes.
_TOLD_BY_ATTRIBUTES = frozenset({CalledProcessError, TimeoutExpired})
#: Immutable types of the standard library, written in C or known to render in bounded time.
_PLAIN = frozenset({datetime, date, time, timedelta, Decimal, UUID})
_PATHS = frozenset({PosixPath, PurePosixPath, PureWindowsPath, WindowsPath})


def type_name(cls: type) -> str:
    """Return the qualified name, without `builtins.` and `__main__.`, past any metaclass."""
    module = _DICT.__get__(cls).get("__module__")
    name = str(_QUALNAME.__get__(cls))
    if type(module) is not str or module in {"builtins", "__main__", "__mp_main__"}:
        return name
    return f"{module}.{name}"


def message_of(exc: BaseException) -> str:
    """Return `str(exc)` where that runs only Python's own code, else the arguments, rendered.

    An application's own `__str__` is not called: what it was given stands in the arguments.
    """
    args = ARGS.__get__(exc)
    if _is(exc, BaseExceptionGroup):
        return text_of(BaseExceptionGroup.__dict__["message"].__get__(exc), LONGEST_MESSAGE)
    if type(exc) in _SYNTAX:
        return text_of(SyntaxError.__dict__["msg"].__get__(exc), LONGEST_MESSAGE)
    told = args
    method = lookup(type(exc), "__str__")
    if type(exc) in _TOLD_BY_ATTRIBUTES:
        told = tuple(attributes_of(exc).values())
    if (type(exc) in _TOLD_BY_ATTRIBUTES or isinstance(method, WrapperDescriptorType)) and all(
        map(_is_plain, told)
    ):
        try:
            return clean(str(exc)[:LONGEST_MESSAGE])
        except Exception:  # noqa: BLE001 - a broken message must not hide the failure itself
            return ""
    if len(args) == 1:
        return text_of(args[0], LONGEST_MESSAGE)
    if not args:
        return text_of(render(exc)) if attributes_of(exc) else ""
    return ", ".join(text_of(arg) for arg in args[:ITEMS])


def lookup(cls: type, name: str) -> object:
    """Return what a class or one of its bases has under that name, past any metaclass."""
    for base in _MRO.__get__(cls):
        found = _DICT.__get__(base).get(name)
        if found is not None:
            return found
    return None


def _is_plain(value: object, depth: int = 2) -> bool:
    """Tell whether the value's text is made by Python's own code, in bounded time."""
    if type(value) in _TUPLES and depth:
        items: tuple[object, ...] | list[object] = value  # type: ignore[assignment]  # just seen
        return len(items) <= ITEMS and all(_is_plain(item, depth - 1) for item in items)
    # A class whose metaclass is Python's own is shown by its name.
    return type(value) is type or (
        type(value) in _SCALARS
        and (type(value) is not int or value.bit_length() <= LARGEST_INT_BITS)
    )


def clean(text: str) -> str:
    """Replace lone surrogates, which neither JSON's UTF-8 nor a database accepts, and NUL."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")


def text_of(value: object, longest: int = LONGEST_TEXT) -> str:
    """Return a value as text of at most `longest` characters; never raises."""
    if _is(value, str):
        return clean(str.__getitem__(value, slice(0, longest)))
    if _is(value, bytes):
        head = bytes.__getitem__(value, slice(0, longest))
        return clean(head.decode("utf-8", "backslashreplace"))
    rendered = render(value)
    return rendered if isinstance(rendered, str) else clean(repr(rendered)[:longest])


def render(
    value: object, depth: int = DEPTH, nodes: int = NODES, longest: int = LONGEST_TEXT
) -> JsonValue:
    """Return a JSON value of at most `nodes` parts, texts cut to `longest`, showing `value`.

    Never raises and never calls foreign code.
    """
    try:
        return _Rendering(nodes, longest).value(value, depth)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown is no failure
        return f"<not shown: {type_name(type(error))}>"


def _is(value: object, kind: type[Kind]) -> TypeGuard[Kind]:
    """Like isinstance, but blind to a `__class__` property, which would be foreign code."""
    return issubclass(type(value), kind)


def is_code(value: object) -> bool:
    """Tell whether a value is a module, a class or a function: code rather than data."""
    return issubclass(type(value), (ModuleType, type, FunctionType, BuiltinFunctionType))


class _Rendering:
    """One walk over a value, with a budget of parts, so that a deep web of objects stays cheap."""

    def __init__(self, nodes: int, longest: int) -> None:
        self._left = nodes
        self._longest = longest

    def value(self, value: object, depth: int) -> JsonValue:
        self._left -= 1
        if value is None or value is True or value is False:
            return value
        if _is(value, str):
            return self._text(str.__getitem__(value, slice(0, self._longest)), str.__len__(value))
        if _is(value, bytes):
            head = bytes.__getitem__(value, slice(0, self._longest // 4))
            return f"{clean(repr(head))} ({bytes.__len__(value)} bytes)"
        if _is(value, int):
            bits = int.bit_length(value)
            return int.__int__(value) if bits <= LARGEST_INT_BITS else f"<int of {bits} bits>"
        if _is(value, float):
            number = float.__float__(value)
            return number if number - number == 0 else float.__repr__(number)
        if type(value) in _PLAIN:
            return str(value)
        return self._composite(value, depth)

    def _text(self, text: str, length: int) -> str:
        text = clean(text)
        return text if length <= self._longest else f"{text}… ({length} characters)"

    def _composite(self, value: object, depth: int) -> JsonValue:
        if _is(value, tuple) and (fields := _fields_of(value)) and depth > 0 and self._left > 0:
            # By their names, as a secret among them is known by its name.
            values: Iterable[object] = islice(tuple.__iter__(value), ITEMS)
            return {
                name: self.value(item, depth - 1)
                for name, item in zip(fields, values, strict=False)
            }
        for kind, items in _SEQUENCES.items():
            if issubclass(type(value), kind):
                return self._sequence(value, depth, kind, items)
        if _is(value, dict):
            length = dict.__len__(value)
            if depth <= 0 or self._left <= 0:
                return f"<{type_name(type(value))} of {length}>"
            return self._named(value, depth)
        described = _described(value)
        if described is not None:
            return described
        attributes = attributes_of(value)
        name = type_name(type(value))
        if not attributes or depth <= 0 or self._left <= 0:
            return f"<{name}>"
        return {"<type>": name, **self._named(attributes, depth)}

    def _sequence(
        self,
        value: object,
        depth: int,
        kind: type,
        items: Callable[..., Iterable[object]],
    ) -> JsonValue:
        length: int = kind.__len__(value)  # type: ignore[attr-defined] # every key of _SEQUENCES has it
        if depth <= 0 or self._left <= 0:
            return f"<{type_name(type(value))} of {length}>"
        shown = [self.value(item, depth - 1) for item in islice(items(value), ITEMS)]
        return shown if length <= ITEMS else [*shown, f"… ({length} items)"]

    def _named(self, value: dict[object, object], depth: int) -> dict[str, JsonValue]:
        shown: dict[str, JsonValue] = {}
        for key, item in islice(dict.items(value), ITEMS):
            shown[text_of(key)] = self.value(item, depth - 1)
        if dict.__len__(value) > ITEMS:
            shown["…"] = f"({dict.__len__(value)} items)"
        return shown


_SEQUENCES: dict[type, Callable[..., Iterable[object]]] = {
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
    deque: deque.__iter__,
}


def _fields_of(value: object) -> tuple[str, ...]:
    """Return the field names of a named tuple, empty for anything else."""
    if not issubclass(type(value), tuple) or type(value) is tuple:
        return ()
    fields = lookup(type(value), "_fields")
    if type(fields) is not tuple or not all(type(name) is str for name in fields):
        return ()
    return fields


def _described(value: object) -> str | None:
    """Show code-like objects by name: their names are plain strings that CPython keeps."""
    if _is(value, type):
        return f"<class {type_name(value)}>"
    if type(value) is FunctionType or type(value) is BuiltinFunctionType:
        return f"<function {_string(value.__qualname__)}>"
    if type(value) is MethodType:
        function = value.__func__
        name = function.__qualname__ if type(function) is FunctionType else ""
        return f"<method {_string(name)}>"
    if _is(value, ModuleType):
        namespace = ModuleType.__getattribute__(value, "__dict__")
        return f"<module {_string(namespace.get('__name__'))}>"
    if type(value) is CodeType:
        return f"<code {value.co_qualname}>"
    if _is(value, BaseException):
        return f"<{type_name(type(value))}: {message_of(value)[:LONGEST_TEXT]}>"
    if type(value) in _PATHS:
        return str(value)
    return None


def _string(value: object) -> str:
    return value if type(value) is str else "?"


def attributes_of(value: object) -> dict[object, object]:
    """Return the instance dictionary, only where it is the real one and not a property."""
    for base in _MRO.__get__(type(value)):
        slot = _DICT.__get__(base).get("__dict__")
        if slot is not None:
            found = slot.__get__(value) if type(slot) is GetSetDescriptorType else None
            return found if type(found) is dict else {}
    return {}
