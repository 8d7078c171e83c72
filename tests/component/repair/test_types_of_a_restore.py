"""A restore is compared with what it goes back to, however many commits came since."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.agent import Options, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import begin, git, write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

#: The type checker knows no `aclose` of an AsyncIterator, and says so wherever the import stands.
STREAM = (
    "from collections.abc import AsyncIterator\nfrom contextlib import aclosing\n\n\n"
    "async def collect(stream: AsyncIterator) -> list:\n    async with aclosing(stream) as source:\n"
    "        return [value async for value in source]\n"
)
TEST = (
    "import asyncio\n\nfrom stream import collect\n\n\nasync def ticks():\n    yield 1\n\n\n"
    "def test_collect():\n    assert asyncio.run(collect(ticks())) == [1]\n"
)


@pytest.mark.parametrize("commits_since", [0, 1])
def test_a_finding_that_was_always_there_speaks_against_no_restore(
    tmp_path: Path, commits_since: int
) -> None:
    files = {"stream.py": STREAM, "tests/test_stream.py": TEST, "conftest.py": ""}
    write(tmp_path, files)
    begin(tmp_path)
    write(tmp_path, {"stream.py": STREAM.replace("from contextlib import aclosing\n", "")})
    git(tmp_path, "commit", "-qam", "Tidy up")
    for number in range(commits_since):
        write(tmp_path, {"CHANGES.md": f"# 1.2.{number}\n"})
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", "Release")
    outcome = fix(tmp_path, "python -m pytest -x tests/test_stream.py::test_collect", Options())
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert "+from contextlib import aclosing" in outcome.chosen.diff
    assert outcome.chosen.candidate.strategy == "version_history"
