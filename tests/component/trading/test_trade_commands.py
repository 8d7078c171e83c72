"""`homeostat trade`: what each command prints, and that replay and explain hold water."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from homeostat.cli import run as command_line
from homeostat.clock import utcnow
from homeostat.settings import settings
from homeostat.store.database import transaction
from homeostat.store.trading import Decision
from homeostat.trading import flow
from homeostat.trading.market import generator

Capture = pytest.CaptureFixture[str]


def ask(capture: Capture, *words: str) -> Any:
    capture.readouterr()
    assert command_line(["trade", *words, "-o", "json"]) == 0
    return json.loads(capture.readouterr().out)


def test_tpsl_prints_the_seeds_numbers(capsys: Capture) -> None:
    found = ask(capsys, "tpsl", "--confidence", "0.84")
    keys = ("tp_pct", "sl_pct", "trail_pct", "partial_pct")
    assert [found[key] for key in keys] == [8.3, 7.2, 2.4, 40]
    other = ask(capsys, "tpsl", "--confidence", "0.84", "--policy", "volatility")
    assert other["sl_pct"] == pytest.approx(100 * 1.5 * 0.02 * (1.3 - 0.6 * 0.84), abs=1e-3)


def test_an_impossible_confidence_is_one_sentence(capsys: Capture) -> None:
    assert command_line(["trade", "tpsl", "--confidence", "7"]) == 64
    told = capsys.readouterr().err
    assert "not between 0 and 1" in told
    assert "Traceback" not in told


def traded() -> flow.Summary:
    with transaction() as session:
        summary = flow.cycle(session, utcnow(), settings())
        flow.canary(session)
    assert summary
    return summary


@pytest.mark.usefixtures("sqlite_store")
def test_what_was_decided_is_shown_explained_and_replayed(capsys: Capture) -> None:
    summary = traded()
    rows = ask(capsys, "decisions", "--limit", "500")
    assert len(rows) == 223
    told = ask(capsys, "explain", f"{summary.cycle_id}.BTCUSDT")["why"]
    assert "was not opened, because there was no safety policy" in told
    assert {row["rule"] for row in ask(capsys, "blocks")} >= {"SAFETY_POLICY_MISSING"}
    assert len(ask(capsys, "equity")) == 1
    assert len(ask(capsys, "hooks")) == 9
    assert ask(capsys, "positions") == []
    assert len(ask(capsys, "orders", "--book", "canary")) >= 3
    seen = ask(capsys, "replay")
    assert (seen["decisions"], seen["same"]) == (222, 222)


@pytest.mark.usefixtures("sqlite_store")
def test_a_forged_decision_does_not_replay(capsys: Capture) -> None:
    traded()
    with transaction() as session:
        statement = select(Decision).where(Decision.symbol == "ETHUSDT")
        session.scalars(statement).one().confidence += 1e-6
    assert command_line(["trade", "replay", "-o", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [one["id"].split(".")[1] for one in found["differing"]] == ["ETHUSDT"]


@pytest.mark.usefixtures("sqlite_store")
def test_an_unknown_decision_is_one_sentence(capsys: Capture) -> None:
    assert command_line(["trade", "explain", "nothing.BTC"]) == 64
    assert "No decision has the id" in capsys.readouterr().err


def recorded(path: Path, *, wild: float = 1.0) -> Path:
    panel = generator.panel(3, symbols=4, bars=1_500)
    lines = ["timestamp,open,high,low,close,volume"]
    for column in range(1, 1_500):
        prices = (panel.open[0], panel.high[0], panel.low[0], panel.close[0])
        cells = ",".join(repr(float(one[column]) * wild) for one in prices)
        lines.append(f"{panel.times[column]},{cells},1.0")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_backtest_reports_an_interval_and_all_exits(tmp_path: Path, capsys: Capture) -> None:
    file = recorded(tmp_path / "eth.csv")
    both = ask(capsys, "backtest", "--data", str(file), "--policy", "both")
    assert [one["policy"] for one in both] == ["tiered", "volatility"]
    for one in both:
        low, high = one["expectancy_r_95"]
        assert low < one["expectancy_r"] < high
        assert one["trades"] > 5
        assert sum(one["exits"].values()) == pytest.approx(1.0)
    assert both[0]["exits"]["TIME_BARRIER"] > both[1]["exits"]["TIME_BARRIER"]


def test_a_broken_file_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    file = recorded(tmp_path / "eth.csv")
    file.write_text(file.read_text()[:-9])
    assert command_line(["trade", "backtest", "--data", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
