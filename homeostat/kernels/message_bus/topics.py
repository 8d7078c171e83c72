"""Topics: who may publish to them, and what a payload must carry."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from homeostat.errors import HomeostatError

TOPICS_FILE = Path(__file__).with_name("topics.toml")


class TopicRefusedError(HomeostatError):
    """The event was refused: its topic, publisher or payload is not declared."""

    exit_code = 77


class Kind(StrEnum):
    """What a payload's field holds."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    OBJECT = "object"
    LIST = "list"

    def fits(self, value: JsonValue) -> bool:
        """Return whether a JSON value is of this kind; a flag is no number."""
        match self:
            case Kind.TEXT:
                return isinstance(value, str)
            case Kind.NUMBER:
                return isinstance(value, int | float) and not isinstance(value, bool)
            case Kind.FLAG:
                return isinstance(value, bool)
            case Kind.OBJECT:
                return isinstance(value, dict)
            case Kind.LIST:
                return isinstance(value, list)


class Topic(BaseModel):
    """One declared topic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    publishers: tuple[str, ...] = Field(min_length=1)
    fields: Mapping[str, Kind] = {}
    partitions: int = Field(1, ge=1, le=64)


@lru_cache(maxsize=1)
def declared() -> dict[str, Topic]:
    """Return the declared topics by name."""
    table = tomllib.loads(TOPICS_FILE.read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, Topic]).validate_python(table)


def permitted(name: str, publisher: str, payload: Mapping[str, JsonValue]) -> Topic:
    """Return the topic; raises TopicRefusedError where this publish is not declared."""
    topic = declared().get(name)
    if topic is None:
        raise TopicRefusedError(f"No topic is named {name!r}; declare it in {TOPICS_FILE.name}.")
    if not any(fnmatchcase(publisher, pattern) for pattern in topic.publishers):
        raise TopicRefusedError(f"{publisher} may not publish to {name}.")
    for field, kind in topic.fields.items():
        if field not in payload:
            raise TopicRefusedError(f"{name} needs the field {field!r}, which is missing.")
        if not kind.fits(payload[field]):
            raise TopicRefusedError(f"{name} needs {field!r} to be a {kind}.")
    return topic
