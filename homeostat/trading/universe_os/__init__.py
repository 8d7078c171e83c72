"""Which symbols may be traded: a chain of filters, from the exchange's list to the few left.

Each symbol that is kept out is kept out by one named rule. What was inside stays until it has
failed twice, what was outside comes in after it has passed twice (hysteresis), so that a symbol
on a threshold does not flap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.clock import utcnow
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Stopwatch, Wing
from homeostat.settings import Mode
from homeostat.settings import UniverseProfile as Profile
from homeostat.store import controls
from homeostat.store import trading as store
from homeostat.store.trading import UniverseHead, UniverseMember, UniverseSnapshot
from homeostat.trading.market import port
from homeostat.trading.market.panel import BAR_S, Instrument, Panel
from homeostat.trading.universe_os import results
from homeostat.trading.universe_os.filters import (
    LIMITS,
    Filtered,
    Limits,
    Tier,
    filter_symbols,
    tier_of,
)

__all__ = [
    "LIMITS",
    "Filtered",
    "Limits",
    "Profile",
    "Tier",
    "UniverseOs",
    "filter_symbols",
    "tier_of",
]

#: A universe older than this blocks entries: three filters of 30 s and one to be late.
LIFE = timedelta(seconds=120)
#: This often the universe is made anew, without regard to who was inside.
REBUILD_EVERY = timedelta(hours=4)
#: How far the filters look back, in bars.
LOOKBACK = 240
#: Filters in a row until an outsider comes in, and until an insider goes out.
ENTER_AFTER, LEAVE_AFTER = 2, 2


class UniverseOs(Component):
    """Decides which symbols may be traded."""

    spec = ComponentSpec(
        name="universe_os",
        wing=Wing.TRADING,
        tier=6,
        summary="Decides which symbols may be traded, and by which rule the others may not.",
        timeout_s=15.0,
    )

    def probe(self, session: Session) -> Evidence:
        """Filter the real market at this moment, with a stablecoin and a dead feed planted in."""
        now = utcnow()
        watch = Stopwatch()
        market = port.market(self.context.settings)
        panel = market.panel(now, LOOKBACK)
        listed = list(market.instruments)
        symbols = panel.symbols
        limits = LIMITS[Profile.AGGRESSIVE]
        before = filter_symbols(listed, panel, limits)
        dead = symbols.index(before.passed[0]) if before.passed else 0
        close = panel.close.copy()
        close[dead] = close[dead, 0]
        after = filter_symbols(listed, replace(panel, close=close), limits)
        rule = after.excluded.get(symbols[dead], "")
        age = port.age_s(panel, now)
        held = controls.is_on(session, controls.BRAKE)
        return Evidence(
            claim="symbols pass, a feed that is made to stall does not, and the data are fresh",
            passed=bool(before.passed) and rule != "" and age <= port.FRESH_S,
            observed={
                "symbols": len(symbols),
                "passed": len(before.passed),
                "stalled_symbol_kept_out_by": rule,
                "newest_bar_age_s": round(age, 1),
                "brake": held,
            },
            seconds=watch.seconds,
        )

    def run(self, session: Session, due_at: datetime) -> CycleResult:
        """Filter all symbols, move the members by hysteresis, and publish the universe."""
        watch = Stopwatch()
        market = port.market(self.context.settings)
        panel = market.panel(utcnow(), LOOKBACK)
        profile = self.profile(session)
        found = filter_symbols(list(market.instruments), panel, LIMITS[profile])
        snapshot = self.publish(session, found, panel, profile)
        version = store.acknowledge(session, self.spec.full_name)
        rules: dict[str, int] = {}
        for rule in snapshot.excluded.values():
            rules[rule] = rules.get(rule, 0) + 1
        return CycleResult(
            work=len(panel.symbols),
            observed={
                "mode": snapshot.mode,
                "profile": profile,
                "symbols": len(panel.symbols),
                "selected": len(snapshot.selected),
                "excluded_by": dict(rules),
                "source": market.source,
                "seconds": round(watch.seconds, 3),
                "directive": version,
                "due_at": due_at.isoformat(),
            },
        )

    def profile(self, session: Session) -> Profile:
        """Return the profile in force: SAFE while that switch is set, else the settings'."""
        safe = controls.is_on(session, controls.SAFE_PROFILE)
        return Profile.SAFE if safe else self.context.settings.universe_profile

    def mode(self) -> Mode:
        """Return the mode in force, which is governance's."""
        return self.context.settings.mode

    def publish(
        self, session: Session, found: Filtered, panel: Panel, profile: Profile
    ) -> UniverseSnapshot:
        """Write the universe that follows from one filter run and the members' history."""
        passed = set(found.passed)
        members = {one.symbol: one for one in session.scalars(select(UniverseMember))}
        last = store.latest_universe(session)
        rebuilt_at = last.rebuilt_at if last else utcnow()
        rebuild = last is None or utcnow() - last.rebuilt_at >= REBUILD_EVERY
        if rebuild:
            rebuilt_at = utcnow()
        excluded = dict(found.excluded)
        for symbol in panel.symbols:
            member = members.get(symbol)
            if member is None:
                member = UniverseMember(symbol=symbol, inside=False, streak=0)
                member.tier, member.trades, member.wins, member.sum_r = Tier.CONDITIONAL, 0, 0, 0.0
                session.add(member)
                members[symbol] = member
            if rebuild:
                member.inside, member.streak = symbol in passed, 0
            _move(member, symbol in passed)
            if member.tier == Tier.BLACKLIST:
                member.inside = False
                excluded[symbol] = "BLACKLIST"
            elif not member.inside and symbol in passed:
                excluded[symbol] = "NOT_YET"
        order = [*found.passed, *(s for s in panel.symbols if s not in passed)]
        selected = [symbol for symbol in order if members[symbol].inside]
        for symbol in selected:
            excluded.pop(symbol, None)
        # A universe of old prices is no younger than they are.
        expires_at = datetime.fromtimestamp(int(panel.times[-1]) + BAR_S, tz=UTC) + LIFE
        snapshot = UniverseSnapshot(
            at=utcnow(),
            expires_at=expires_at,
            mode=self.mode(),
            profile=profile,
            rebuilt_at=rebuilt_at,
            selected=selected,
            excluded=excluded,
        )
        session.add(snapshot)
        session.flush()
        return snapshot

    def admit(
        self, universe: UniverseHead | None, symbols: Sequence[str], at: datetime
    ) -> list[str]:
        """Return, for each symbol, the rule that keeps an entry out, or an empty text.

        The brake was asked before. Without a fresh universe nothing enters. Only ENFORCED
        filters: OBSERVE and ADVISORY publish what they would do, and let pass.
        """
        if universe is None:
            return ["UNIVERSE_MISSING"] * len(symbols)
        if universe.expires_at <= at:
            return ["UNIVERSE_EXPIRED"] * len(symbols)
        if not universe.selected:
            return ["UNIVERSE_EMPTY"] * len(symbols)
        if universe.mode != Mode.ENFORCED:
            return [""] * len(symbols)
        return ["" if symbol in universe.selected else "NOT_IN_UNIVERSE" for symbol in symbols]

    def examine(self, listed: Sequence[Instrument], panel: Panel) -> Filtered:
        """Pass symbols through the rules of the ordinary profile, without keeping the result."""
        return filter_symbols(listed, panel, LIMITS[Profile.AGGRESSIVE])

    def record_result(self, session: Session, symbol: str, r: float) -> None:
        """Add one closed trade's result to the symbol's, and set its tier anew."""
        results.record(session, symbol, r)


def _move(member: UniverseMember, passed: bool) -> None:  # noqa: FBT001  # the filter's verdict
    if passed == member.inside:
        member.streak = 0
        return
    member.streak += 1
    if member.streak >= (ENTER_AFTER if passed else LEAVE_AFTER):
        member.inside, member.streak = passed, 0
