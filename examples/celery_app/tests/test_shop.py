# ruff: noqa: S101 - a test asserts
from shop import receipt


def test_a_receipt_takes_the_discount_off() -> None:
    assert receipt([10, 30], discount=0.5) == 20.0
