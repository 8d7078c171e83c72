# ruff: noqa: S101 - a test asserts
from prices import total


def test_prices_are_added_up() -> None:
    assert total([1.5, 2.5]) == 4.0


def test_a_discount_is_taken_off() -> None:
    assert total([10, 30], discount=0.5) == 20.0
