"""One ordered table decides where several want different things of one position."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from homeostat.trading.authority import AUTHORITY, Claim, Wants, rule_on

REDUCING = (Wants.EXIT, Wants.REDUCE, Wants.PARTIAL, Wants.TIGHTEN_SL)
ENLARGING = (Wants.ADD, Wants.EXTEND)


def test_the_order_is_the_specifications() -> None:
    assert AUTHORITY == ("safety", "brake", "PIL", "PBA", "execution", "PAL", "model")


@pytest.mark.parametrize(("higher", "lower"), list(combinations(AUTHORITY, 2)))
def test_the_higher_authority_is_heard_whoever_speaks_first(higher: str, lower: str) -> None:
    for wants, other in permutations((Wants.REDUCE, Wants.PARTIAL, Wants.TIGHTEN_SL), 2):
        claims = [Claim(higher, "BTC", wants), Claim(lower, "BTC", other)]
        for given in permutations(claims):
            ruling = rule_on(given)
            assert ruling.stands is claims[0]
            assert ruling.overruled == (claims[1],)


@pytest.mark.parametrize(("higher", "lower"), list(combinations(AUTHORITY, 2)))
@pytest.mark.parametrize("wants", [one for one in Wants if one is not Wants.EXIT])
def test_an_exit_is_held_back_by_nobody(higher: str, lower: str, wants: Wants) -> None:
    leave, other = Claim(lower, "BTC", Wants.EXIT), Claim(higher, "BTC", wants)
    for given in permutations((leave, other)):
        assert rule_on(given).stands is leave
    # Who of two leaves first is a matter of rank: it names the rule of the exit.
    both = [leave, Claim(higher, "BTC", Wants.EXIT)]
    assert all(rule_on(given).stands is both[1] for given in permutations(both))


@pytest.mark.parametrize(("higher", "lower"), list(combinations(AUTHORITY, 2)))
def test_a_veto_stops_what_enlarges_and_never_an_exit(higher: str, lower: str) -> None:
    veto = Claim(higher, "BTC", Wants.NO_ADD)
    for wants in ENLARGING:
        claim = Claim(lower, "BTC", wants)
        assert rule_on([claim, veto]).stands is None
        assert rule_on([claim, veto]).overruled == (claim,)
        # From below, the veto comes too late.
        above, below = Claim(higher, "BTC", wants), Claim(lower, "BTC", Wants.NO_ADD)
        assert rule_on([below, above]).stands is above
    for wants in REDUCING:
        claim = Claim(lower, "BTC", wants)
        assert rule_on([claim, veto]).stands is claim


def test_equal_wishes_are_no_conflict_and_no_claims_no_ruling() -> None:
    both = [Claim("PIL", "A", Wants.EXIT), Claim("PAL", "A", Wants.EXIT)]
    assert rule_on(both).overruled == ()
    assert rule_on([]).stands is None
