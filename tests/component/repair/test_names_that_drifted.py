"""A name that drifted where it is declared, told by what nobody gives or uses any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.repair.agent import Options, Status, fix
from homeostat.repair.sandbox import Isolation, detect_isolation
from tests.component.repair.conftest import begin, git, write

pytestmark = pytest.mark.skipif(
    detect_isolation() is not Isolation.BUBBLEWRAP, reason="bubblewrap does not work here"
)

BASE = (
    "from abc import ABC, abstractmethod\n\n\nclass Till(ABC):\n    @abstractmethod\n"
    "    def {declared}(self, price):\n        ...\n\n\nclass Drawer(Till):\n"
    "    def {implemented}(self, price):\n        return price + 1\n"
)
#: name → (the files, the user's lines, what the diff must hold, and what it must not)
CASES: dict[str, tuple[dict[str, str], str, str, str]] = {
    "the only parameter that nobody gives": (
        {
            "shop.py": "def read(name, after=None):\n    found = [name, after]\n    if name:\n        return found\n    return None\n",
            "others.py": "".join(f"def {name}(since=None):\n    return since\n\n\n" for name in "abc"),
        },
        "from shop import read\nassert read('a', since=1)\n",
        "+def read(name, since=None):", "after=None, since",
    ),
    "the only one of the type that is given": (
        {"shop.py": "def again(times=3, *, exceptions=(OSError,), pause=0.0):\n    try:\n        return int('x') + times + pause\n    except exceptions:\n        return None\n"},
        "from shop import again\nassert again(times=2, errors=(ValueError,)) is None\n",
        "+def again(times=3, *, errors=(OSError,), pause=0.0):", "exceptions=(OSError,), pause=0.0, errors",
    ),
    "a parameter that is kept by the name that is given": (
        {"shop.py": "class Gauge:\n    def __init__(self, place, *, offset=0.0, scale=1.0):\n        self.place = place\n        self.datum = offset\n        self.scale = scale\n"},
        "from shop import Gauge\nassert Gauge('a', datum=0.5).datum == 0.5\nassert Gauge('a', scale=2).scale == 2\n",
        "+    def __init__(self, place, *, datum=0.0, scale=1.0):", "offset=0.0, scale=1.0, datum",
    ),
    "a field of a data class": (
        {
            "shop.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Lot:\n    amount: int\n    cost: float = 0.0\n    note: str = ''\n\n    def half(self):\n        return self.cost / 2\n",
            "sums.py": "def total(lots):\n    return sum(lot.price for lot in lots)\n",
        },
        "from shop import Lot\nfrom sums import total\nlot = Lot(2, price=3.0)\nassert (total([lot]), lot.note) == (3.0, '')\n",
        "+        return self.price / 2", "object | None",
    ),
    "a field by the name of something else's attribute": (
        {
            "shop.py": "from dataclasses import dataclass\n\n\n@dataclass\nclass Lot:\n    amount: int\n    cost: float = 0.0\n",
            "sums.py": "class Sums:\n    def cost(self, lots):\n        return sum(lot.price for lot in lots)\n",
            "tests/test_shop.py": "from shop import Lot\nfrom sums import Sums\n\n\ndef test_lot():\n    assert Lot(2, price=3.0)\n\n\n"
            "def test_cost():\n    assert Sums().cost([Lot(1), Lot(2, price=3.0)]) == 3.0\n",
        },
        "",
        "+    price: float = 0.0", "object | None",
    ),
    "an abstract method": (
        {
            "shop.py": BASE.format(declared="insert", implemented="put"),
            "rows.py": "def headed(rows, head):\n    rows.insert(0, head)\n    return rows\n",
        },
        "from shop import Drawer\nassert Drawer().put(1) == 2\n",
        "+    def put(self, price):", "-    def put",
    ),
    "what implements an abstract method": (
        {"shop.py": BASE.format(declared="put", implemented="insert")},
        "from shop import Drawer\nassert Drawer().put(1) == 2\n",
        "-    def insert(self, price):", "-    def put",
    ),
    "a property by the name of a parameter elsewhere": (
        {
            "shop.py": "class Unit:\n    @property\n    def kind(self):\n        return 'mass'\n",
            "log.py": "def log(kind):\n    return kind\n",
        },
        "from log import log\nfrom shop import Unit\nassert log(Unit().family) == 'mass'\n",
        "+    def family(self):", "-def log",
    ),
    "a member of an enumeration": (
        {"shop.py": "from enum import Enum\n\n\nclass Size(Enum):\n    SMALL = 1\n    LARGE = 2\n\n\ndef label(name, size: Size):\n    return f'{name} {size.name}'\n"},
        "from shop import label\nassert label('tea') == 'tea LARGE'\n",
        "size: Size = Size.LARGE", "None",
    ),
    "a number that a method reckons with": (
        {"shop.py": "class Plan:\n    def __init__(self, people):\n        self.people = people\n\n    def seats(self, guests=0):\n        return self.people + guests\n"},
        "from shop import Plan\nassert Plan().seats() == 2\n",
        "+    def __init__(self, people=2):", "None",
    ),
    "a member of an enumeration in a data class": (
        {"shop.py": "from dataclasses import dataclass\nfrom enum import IntEnum\n\n\nclass Size(IntEnum):\n    SMALL = 1\n    LARGE = 2\n\n\n@dataclass\nclass Cup:\n    size: Size\n"},
        "from shop import Cup\nassert Cup().size == 2\n",
        "+    size: Size = Size.LARGE", "None",
    ),
    "a function in a module of its own name": (
        {
            "shop/bag.py": "class Bag:\n    pass\n",
            "shop/turn.py": "def turn(items):\n    return items[::-1]\n",
        },
        "from shop import Bag, turn\nassert Bag\nassert turn([1, 2]) == [2, 1]\n",
        "+from .turn import turn as turn", "from . import",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_gets_its_name_back(name: str, tmp_path: Path) -> None:
    files, user, line, other = CASES[name]
    write(tmp_path, {**files, "user.py": user})
    begin(tmp_path)
    command = "python user.py" if user else "python -m pytest -x tests/test_shop.py::test_lot"
    outcome = fix(tmp_path, command, Options())
    assert outcome.chosen is not None, [item.proof.refusal for item in outcome.refused]
    assert line in outcome.chosen.diff
    assert other not in outcome.chosen.diff


def test_a_class_of_collections_is_imported_from_there_without_a_person(tmp_path: Path) -> None:
    shop = "from typing import Any\n\n\ndef count(items: Any):\n    return Counter(items).most_common(1)\n"
    user = "from shop import count\nassert count('aab') == [('a', 2)]\n"
    write(tmp_path, {"shop.py": shop, "user.py": user})
    begin(tmp_path)
    outcome = fix(tmp_path, "python user.py", Options())
    assert outcome.chosen is not None
    assert "+from collections import Counter" in outcome.chosen.diff
    assert outcome.status is Status.PROPOSED


@pytest.mark.parametrize(
    ("good", "drift"),
    [
        ("@dataclass\nclass Cup:\n    size: int = 7\n", ("int = 7", "int")),
        ("class Till(ABC):\n    @abstractmethod\n    def put(self): ...\n\n\nclass Cup(Till):\n    size = 7\n\n    def put(self):\n        return self\n", ("def put(self): ...", "def keep(self): ...")),
    ],
)  # fmt: skip
def test_a_class_that_cannot_be_made_is_restored_from_history(
    good: str, drift: tuple[str, str], tmp_path: Path
) -> None:
    head = "from abc import ABC, abstractmethod\nfrom dataclasses import dataclass\n\n\n"
    user = "from shop import Cup\nassert Cup().size == 7\n"
    write(tmp_path, {"shop.py": head + good, "user.py": user})
    begin(tmp_path)
    write(tmp_path, {"shop.py": head + good.replace(*drift)})
    git(tmp_path, "commit", "-qam", "Tidy")
    outcome = fix(tmp_path, "python user.py", Options())
    assert outcome.status is Status.PROPOSED
    assert outcome.chosen is not None
    assert outcome.chosen.candidate.changes == {"shop.py": head + good}
