"""A fault, read: what kind it is, what is missing or too much, and who lacks it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from homeostat.repair.failure import Fault, Frame


class Kind(StrEnum):
    """What a fault says, read from its type and message."""

    UNEXPECTED_KEYWORD = "unexpected_keyword"
    MISSING_ARGUMENT = "missing_argument"
    SURPLUS_ARGUMENT = "surplus_argument"
    ABSTRACT_METHOD = "abstract_method"
    CANNOT_IMPORT = "cannot_import"
    CIRCULAR = "circular"
    NO_MODULE = "no_module"
    NO_PACKAGE = "no_package"
    NO_ATTRIBUTE = "no_attribute"
    UNDEFINED_NAME = "undefined_name"
    NONE_VALUE = "none_value"
    MISSING_KEY = "missing_key"
    LENGTH = "length"


@dataclass(frozen=True)
class Symptom:
    """One reading of one fault; `name` is what is missing or too much, `subject` who lacks it."""

    kind: Kind
    name: str
    subject: str
    fault: Fault
    names: tuple[str, ...] = ()

    @property
    def frame(self) -> Frame | None:
        """The innermost frame inside the repository."""
        frames = self.fault.own_frames
        return frames[-1] if frames else None
