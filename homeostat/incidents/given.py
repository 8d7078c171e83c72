"""What exceptions were given under secret names, so that no message of theirs quotes it.

`LoginError("ann", "hunter2")` shows its arguments as its message, and only the parameters of its
`__init__` say that the second is a password.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

from homeostat.incidents import unwinding
from homeostat.incidents.rendering import ARGS, attributes_of, lookup


def texts_of(exc: BaseException) -> Iterator[tuple[str, str]]:
    """Yield the names and texts that the exceptions of a chain were given; runs no code of theirs.

    By attribute, and by parameter where the arguments are still those of the call.
    """
    for link, _ in unwinding.links_of(exc):
        pairs = list(attributes_of(link).items())
        init, args = lookup(type(link), "__init__"), ARGS.__get__(link)
        if type(init) is FunctionType:
            names = init.__code__.co_varnames[1 : init.__code__.co_argcount]
            if len(names) == len(args):
                pairs += zip(names, args, strict=True)
        for name, value in pairs:
            if type(name) is str and type(value) is str:
                yield name, value
