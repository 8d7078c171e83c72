"""Classes of defects that are proposed and never applied without a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.agent import Apply, Options, Status, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import begin, git, write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

#: name → (the files, the user's lines, what the diff must hold)
CASES: dict[str, tuple[dict[str, str], str, str]] = {
    "a data class without the field": (
        {"shop.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Order:\n    name: str\n"},
        "from shop import Order\nassert Order(name='Ann', note='quick').note == 'quick'\n",
        "+    note: str | None = None",
    ),
    "a class that is no data class any more": (
        {"shop.py": "class Order:\n    name: str\n    note: str = ''\n"},
        "from shop import Order\nassert Order(name='Ann').name == 'Ann'\n",
        "+@dataclass",
    ),
    "a misspelt constructor": (
        {"shop.py": "class Order:\n    def _init__(self, name):\n        self.name = name\n"},
        "from shop import Order\nassert Order('Ann').name == 'Ann'\n",
        "+    def __init__(self, name):",
    ),
    "a value too many": (
        {"shop.py": "def first(pair):\n    name, note = pair\n    return name\n"},
        "from shop import first\nassert first(['Ann', 'quick', 3]) == 'Ann'\n",
        "+    name, note, *_ = pair",
    ),
    "a guard that a sibling has": (
        {"shop.py": "def total(prices, places=None):\n    if places is None:\n        places = 2\n    return round(sum(prices), places)\n\n\ndef double(prices, places=None):\n    return round(2 * sum(prices), places + 0)\n"},
        "from shop import double\nassert double([0.125]) == 0.25\n",
        "+        places = 2",
    ),
    "a value that may be left out and is gone through": (
        {"shop.py": "def names(found=None):\n    return [name.upper() for name in found]\n"},
        "from shop import names\nassert names() == []\n",
        "+        found = ()",
    ),
    "a value that is handed on to where it is needed": (
        {"shop.py": "def _upper(text):\n    return text.upper()\n\n\ndef label(name=None):\n    return _upper(name)\n\n\ndef length(name=None):\n    if name is None:\n        name = 'ANN'\n    return len(name)\n"},
        "from shop import label\nassert label() == 'ANN'\n",
        "+        name = 'ANN'",
    ),
    "a key that others read with a default": (
        {"shop.py": "def most(order):\n    return order.get('limit', 3)\n\n\ndef least(order):\n    return order['limit']\n"},
        "from shop import least\nassert least({}) == 3\n",
        "+    return order.get('limit', 3)",
    ),
    "a key whose value is gone through": (
        {"shop.py": "def names(order):\n    found = order['lines']\n    return [name.upper() for name in found]\n"},
        "from shop import names\nassert names({}) == []\n",
        "+    found = order.get('lines', [])",
    ),
    "a key whose value is added to": (
        {"shop.py": "def add(order, name, count):\n    order[name] = order[name] + count\n    return order\n"},
        "from shop import add\nassert add({}, 'tea', 2) == {'tea': 2}\n",
        "+    order[name] = order.get(name, 0) + count",
    ),
    "a parameter whose place among others is not known": (
        {"shop.py": "class Order:\n    def __init__(self, name, size=1):\n        self.name = name\n        self.size = size\n        self.note = None\n"},
        "from shop import Order\nassert Order('Ann', note='quick').note == 'quick'\n",
        "+        self.note = note",
    ),
    "a key renamed in a configuration": (
        {
            "shop.py": "import json\n\n\ndef limit():\n    with open('shop.json') as file:\n        return json.load(file)['limit']\n",
            "shop.json": '{\n  "limits": 3\n}\n',
        },
        "from shop import limit\nassert limit() == 3\n",
        '+  "limit": 3',
    ),
}  # fmt: skip


def repository(folder: Path, files: dict[str, str], user: str) -> Path:
    folder = folder / "repository"
    folder.mkdir()
    write(folder, {**files, "user.py": user})
    return begin(folder)


@pytest.mark.parametrize("name", CASES)
def test_it_is_proven_and_waits_for_a_person(name: str, tmp_path: Path) -> None:
    files, user, line = CASES[name]
    outcome = fix(repository(tmp_path, files, user), "python user.py", Options(apply=Apply.POLICY))
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert line in outcome.chosen.diff
    assert outcome.status is Status.WAITING


def test_a_configuration_gets_its_lines_back_from_history(tmp_path: Path) -> None:
    files, user, _ = CASES["a key renamed in a configuration"]
    good = {**files, "shop.json": '{\n  "limit": 3,\n  "name": "Ann"\n}\n'}
    folder = repository(tmp_path, good, user)
    write(folder, {"shop.json": '{\n  "name": "Ann"\n}\n'})
    git(folder, "commit", "-qam", "Tidy")
    outcome = fix(folder, "python user.py", Options(apply=Apply.POLICY))
    assert outcome.chosen is not None
    assert outcome.chosen.candidate.changes == {"shop.json": good["shop.json"]}
    assert outcome.status is Status.WAITING


def test_a_renamed_parameter_is_found_where_its_keyword_was_handed_on(tmp_path: Path) -> None:
    shop = (
        "class Order:\n    def __init__(self, name):\n        self.name = name\n\n\n"
        "class Rush(Order):\n    def __init__(self, hours_value=1, **rest):\n"
        "        super().__init__(**rest)\n        self.hours = hours_value\n"
    )
    user = "from shop import Rush\nassert Rush(name='Ann', hours=3).hours == 3\n"
    outcome = fix(repository(tmp_path, {"shop.py": shop}, user), "python user.py", Options())
    assert outcome.status is Status.PROPOSED
    assert outcome.chosen is not None
    assert "+    def __init__(self, hours=1, **rest):" in outcome.chosen.diff


def test_a_package_file_imports_first_what_its_modules_want_of_it(tmp_path: Path) -> None:
    files = {
        "shop/core.py": "class Order:\n    pass\n",
        "shop/bulk.py": "from . import Order\n\n\nclass Bulk(Order):\n    pass\n",
    }
    user = "from shop import Bulk, Order\nassert issubclass(Bulk, Order)\n"
    outcome = fix(repository(tmp_path, files, user), "python user.py", Options())
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert outcome.chosen.candidate.changes["shop/__init__.py"] == (
        "from .core import Order as Order\nfrom .bulk import Bulk as Bulk\n"
    )


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("from socket import AF_INET\n\n\ndef kinds():\n    return AF_INET, AF_INET6\n",
         "+from socket import AF_INET, AF_INET6"),
        ("from packaging.version import Version\n\n\ndef kinds():\n    return Version, InvalidVersion\n",
         "+from packaging.version import InvalidVersion, Version"),
    ],
)  # fmt: skip
def test_an_import_is_found_where_the_file_imports_from_already(
    tmp_path: Path, source: str, line: str
) -> None:
    user = "from shop import kinds\nassert len(kinds()) == 2\n"
    outcome = fix(repository(tmp_path, {"shop.py": source}, user), "python user.py", Options())
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert line in outcome.chosen.diff
    assert outcome.status is Status.PROPOSED


def test_a_package_file_that_only_its_own_tests_miss_is_written_anew(tmp_path: Path) -> None:
    files = {
        "shop/prices.py": "def total(prices):\n    return sum(prices)\n",
        "shop/tests/__init__.py": "",
        "shop/tests/test_prices.py": (
            "from ..prices import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"
        ),
    }
    folder = repository(tmp_path, files, "")
    command = "python -m pytest -x shop/tests/test_prices.py"
    outcome = fix(folder, command, Options(apply=Apply.POLICY))
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert list(outcome.chosen.candidate.changes) == ["shop/__init__.py"]
    assert outcome.status is Status.WAITING
