"""A small package under git, with one user of all that it offers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conftest import forget_settings

GOOD: dict[str, str] = {
    "shop/__init__.py": (
        '"""A shop."""\n\nfrom .orders import Order, place\nfrom .prices import total\n\n'
        '__all__ = ["Order", "place", "total"]\n'
    ),
    "shop/prices.py": (
        '"""Prices."""\n\nimport math\n\n\n'
        "def total(prices, discount=0.0, places=None):\n"
        '    """Add prices up.\n\n    :param discount: the share to take off.\n    """\n'
        "    if places is None:\n        places = 2\n"
        "    return round(math.fsum(prices) * (1 - discount), places)\n"
    ),
    "shop/orders.py": (
        '"""Orders."""\n\nfrom .prices import total\n\n\n'
        "class Order:\n"
        "    def __init__(self, customer, prices, note=None):\n"
        "        self.customer = customer\n        self.prices = prices\n"
        "        self.note = note\n\n"
        "    def amount(self, discount=0.0):\n"
        "        return total(self.prices, discount=discount)\n\n\n"
        "def place(customer, prices, note=None):\n"
        "    return Order(customer=customer, prices=prices, note=note)\n"
    ),
    "user.py": (
        "import shop\nfrom shop import Order, place, total\n"
        "from shop.orders import Order as Same\n\n"
        "assert Same is Order\n"
        "assert total([1, 2], discount=0.5) == 1.5\n"
        "order = place('Ann', [3, 4], note='quick')\n"
        "assert (order.customer, order.note) == ('Ann', 'quick')\n"
        "assert order.amount(discount=0.0) == 7\n"
        "assert shop.total([0.125], places=1) == 0.1\n"
    ),
}

MakeRepository = Callable[..., Path]


def git(repository: Path, *words: str) -> str:
    """Run git and return its output."""
    done = subprocess.run(
        ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words],
        cwd=repository, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def begin(folder: Path, message: str = "Begin") -> Path:
    """Make a folder a repository whose first commit holds all that is in it, and return it."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return folder


def write(repository: Path, files: Mapping[str, str | None]) -> None:
    """Write files; None deletes one."""
    for path, text in files.items():
        target = repository / path
        if text is None:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Return a function that lays out a broken repository, with or without its good past."""

    def make(drift: Mapping[str, str | None], *, history: bool = False) -> Path:
        repository = tmp_path / "repository"
        repository.mkdir()
        write(repository, GOOD)
        git(repository, "init", "-q")
        if history:
            git(repository, "add", "-A")
            git(repository, "commit", "-q", "-m", "Good")
        write(repository, drift)
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "Drift")
        return repository

    return make


@pytest.fixture
def make_mendable(
    make_repository: MakeRepository, sqlite_store: str, monkeypatch: pytest.MonkeyPatch
) -> MakeRepository:
    """As `make_repository`, on a store; and what is made is what the agent may mend."""
    assert sqlite_store

    def make(drift: Mapping[str, str | None]) -> Path:
        made = make_repository(drift)
        monkeypatch.setenv("HOMEOSTAT_REPOSITORY", str(made))
        forget_settings()
        return made

    return make
