"""Python source as a syntax tree, one tree at a time.

CPython 3.11 counts the depth of the tree that it builds in one place for all threads. Where
another thread takes its turn half way (in a callback of the garbage collector) and builds one too,
the count is spoilt, and sound code raises SystemError.
"""

from __future__ import annotations

import ast
import threading

_one_at_a_time = threading.RLock()


def parse(source: str | bytes) -> ast.Module:
    """Return the tree of a module; raises SyntaxError or ValueError where it is no Python."""
    with _one_at_a_time:
        return ast.parse(source)  # noqa: TID251  # here they are built


def literal(source: str) -> object:
    """Return the value that a literal stands for; raises SyntaxError or ValueError otherwise."""
    with _one_at_a_time:
        tree = ast.parse(source.strip(), mode="eval")  # noqa: TID251  # as above
    return ast.literal_eval(tree)  # noqa: TID251  # of a tree that is built
