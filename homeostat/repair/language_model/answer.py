"""Reading a model's answer: edits of texts that stand there exactly once, or the flaw of it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homeostat.repair.language_model.provider import ProviderError
from homeostat.repair.tree import Tree

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(?P<inside>.*)\n\s*```\s*\Z", re.DOTALL)


class _Edit(BaseModel):
    model_config = ConfigDict(extra="ignore")

    path: str = Field(min_length=1, max_length=400)
    old: str = Field(min_length=1)
    new: str


class _Patch(BaseModel):
    model_config = ConfigDict(extra="ignore")

    title: str = Field("", max_length=300)
    edits: list[_Edit] = Field(min_length=1, max_length=20)


def read_answer(text: str, tree: Tree) -> tuple[str, dict[str, str | None]]:
    """Return the title and the changed files; raises ProviderError with what is wrong with it."""
    fenced = _FENCED.match(text)
    try:
        patch = _Patch.model_validate_json(fenced["inside"] if fenced else text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProviderError(f"the answer is no patch: {place} {first['msg']}".strip()) from error
    changes: dict[str, str | None] = {}
    for edit in patch.edits:
        if not _inside(edit.path):
            raise ProviderError(f"the patch touches {edit.path!r}, outside the repository")
        present = changes.get(edit.path) or tree.read(edit.path)
        if present is None:
            raise ProviderError(f"the patch edits {edit.path!r}, which is not there")
        count = present.count(edit.old)
        if count != 1:
            raise ProviderError(f"the text to replace stands {count} times in {edit.path!r}")
        changes[edit.path] = present.replace(edit.old, edit.new, 1)
    return " ".join(patch.title.split()), changes


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and not {"..", ".git"} & set(pure.parts) and "\\" not in path
