"""The last resort against an installed package: an older version, pinned where it is declared.

The older version is fetched as a wheel (nothing of it runs outside the sandbox) and the failing
command is replayed with it in front of the installed one.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from homeostat.repair import installed
from homeostat.repair.case import Candidate, Case, DefectClass, Origin, Side
from homeostat.repair.strategies.adapted_caller import foreign
from homeostat.repair.symptom import Kind

_KINDS = {Kind.CANNOT_IMPORT, Kind.NO_ATTRIBUTE, Kind.UNEXPECTED_KEYWORD, Kind.NO_MODULE}


def candidates(case: Case) -> Iterator[Candidate]:
    """Yield a pin for the package that the failure is about, where the repository declares it."""
    for symptom in case.symptoms:
        if symptom.kind not in _KINDS:
            continue
        module = symptom.subject or symptom.name
        place = symptom.fault.callee or symptom.fault.owner
        if place is not None and not place.inside and place.module:
            module = place.module
        top = module.split(".")[0]
        found = installed.distribution_of(case.interpreter, top) if foreign(case, top) else None
        if found is not None and not _is_itself(case, found[0]):
            yield from _pins(case, *found)


def _is_itself(case: Case, name: str) -> bool:
    """Whether the repository is that very distribution: nobody pins himself."""
    spelled = re.sub(r"[-_.]+", "[-_.]", re.escape(name).replace("\\-", "-"))
    pattern = re.compile(rf"(?im)^\s*name\s*=\s*['\"]?{spelled}['\"]?\s*,?\s*$")
    declared = ("pyproject.toml", "setup.cfg", "setup.py", "PKG-INFO")
    return any(pattern.search(case.tree.read(path) or "") for path in declared)


def _pins(case: Case, name: str, version: str) -> Iterator[Candidate]:
    for path in case.tree.files:
        if not re.search(r"(^|/)(pyproject\.toml|setup\.cfg|requirements[\w-]*\.txt)$", path):
            continue
        text = case.tree.text(path)
        bound = ".".join(version.split(".")[:2])
        changed = declare_below(text, name, bound)
        if changed is None or not _still_valid(path, changed):
            continue
        overlay = older_version(case, name, bound)
        if overlay is not None:
            yield Candidate(
                strategy="dependency_pin",
                defect=DefectClass.DEPENDENCY_DRIFT,
                title=f"Pin {name} below {bound} in {path}; {version} has lost what is used here.",
                changes={path: changed},
                origin=Origin.PIN,
                side=Side.DEPENDENCY,
                score=0.4,
                waits_because="a version pin is a person's choice",
                parameters={"path": path, "package": name, "below": bound, "installed": version},
                readable=(overlay,),
                atomic=True,
            )
            return


def declare_below(text: str, name: str, bound: str) -> str | None:
    """Add an upper bound to a requirement's declaration; None where it is not declared."""
    spelled = re.escape(name).replace(r"\-", "[-_.]").replace("_", "[-_.]")
    pattern = re.compile(
        rf"(?im)^(?P<head>.*?(?<![\w-]){spelled}(?:\[[\w,]+\])?)(?P<spec>\s*[<>=!~][^\"';#\n]*)?"
        r"(?P<tail>[\"';#].*|\s*)$"
    )
    matched = pattern.search(text)
    if matched is None:
        return None
    spec = (matched["spec"] or "").rstrip()
    kept = [part.strip() for part in spec.split(",") if part.strip() and "<" not in part]
    new = ",".join([*kept, f"<{bound}"])
    return text[: matched.end("head")] + new + text[matched.start("tail") :]


def _still_valid(path: str, text: str) -> bool:
    if not path.endswith(".toml"):
        return True
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def older_version(case: Case, name: str, bound: str) -> Path | None:
    """Fetch the newest wheel below a version into a folder of its own; None where there is none."""
    folder = Path(tempfile.mkdtemp(prefix="homeostat-pin-"))
    folder.chmod(0o755)
    python = f"{case.interpreter.version[0]}.{case.interpreter.version[1]}"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:",
         "--python-version", python, "--target", str(folder), f"{name}<{bound}"],
        check=False, capture_output=True, timeout=120,
    )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return folder
