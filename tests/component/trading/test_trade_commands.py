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
    by_rule = {row["rule"]: row["decisions"] for row in ask(capsys, "blocks")}
    assert sum(by_rule.values()) == 222
    assert by_rule["SAFETY_POLICY_MISSING"] > 100
    assert ask(capsys, "blocks", "--book", "canary") == [{"rule": "OPENED", "decisions": 1}]
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


#: What is asked wrongly, the exit code, and words of the sentence; nothing has run here yet.
WRONG = [
    (("explain", "nothing.BTC"), 64, "No decision has the id"),
    (("explain", ""), 64, "No decision has the id"),
    (("explain", "a.b.c"), 64, "No decision has the id"),
    (("explain", "\udcff.BTC"), 64, "is no UTF-8 text"),
    (("explain", "\0.BTC"), 64, "No decision has the id"),
    (("explain", "x" * 10_000), 64, "…"),
    (("explain",), 2, "decision"),
    (("replay", "--from", "2026-01-02", "--to", "2026-01-01"), 64, "ends before it begins"),
    (("replay", "--from", "2026-01-01", "--to", "2026-01-01"), 64, "ends before it begins"),
    (("replay", "--from", "1900-01-01"), 66, "Nothing was decided from 1900-01-01 00:00"),
    (("replay", "--to", "0001-01-01"), 64, "ends before it begins"),
    (("replay", "--to", "0001-01-01T00:30:00"), 66, "from 1-01-01 00:00"),
    (("replay", "--from", "9999-12-31"), 64, "ends before it begins"),
    (("replay", "--to", "9999-12-31T23:59:59"), 66, "Nothing was decided"),
    (
        ("replay", "--from", "2026-01-01T03:00:00+02:00", "--to", "2026-01-01T00:30Z"),
        64,
        "ends before",
    ),
    (
        ("replay", "--from", "2026-01-01T02:00:00+02:00", "--to", "2026-01-01T00:30Z"),
        66,
        "00:00 to",
    ),
    (("replay", "--from", "0001-01-01T00:00:00+14:00"), 2, "valid datetime"),
    (("replay", "--from", "nan"), 2, "valid datetime"),
    (("replay", "--from", ""), 2, "valid datetime"),
    (("replay", "--from", "yesterday"), 2, "valid datetime"),
    (("replay", "--from", "2026-13-45"), 2, "valid datetime"),
    (("decisions", "--limit", "0"), 2, "--limit"),
    (("orders", "--book", "nope"), 2, "'paper'"),
    (("blocks", "--hours", "nan"), 2, "--hours"),
    (("blocks", "--hours", "1e12"), 2, "--hours"),
    (("tpsl", "--confidence", "nan"), 64, "not between 0 and 1"),
    (("tpsl", "--confidence", "0.5", "--policy", "x"), 64, "There is no policy 'x'"),
    (("tpsl", "--confidence", "0.5", "--volatility", "-1"), 64, "is not a fraction"),
    (("backtest", "--data", "x", "--policy", "x"), 64, "There is no policy 'x'"),
    (("backtest", "--data", "x", "--floor", "7"), 2, "--floor"),
    (("backtest", "--data", "x", "--floor", "nan"), 2, "--floor"),
    (("backtest",), 2, "--data"),
    (("barriers", "--data", "/nowhere"), 2, "no file and no folder"),
    (("venue", "reconcile"), 78, "paper venue has no address"),
    (("venue", "serve", "--faults", "/nowhere"), 64, "cannot be read as JSON"),
]


@pytest.mark.parametrize(
    ("words", "code", "said"), WRONG, ids=[" ".join(one[0])[:60] for one in WRONG]
)
def test_a_wrong_question_is_answered_in_a_sentence(
    words: tuple[str, ...], code: int, said: str, capsys: Capture
) -> None:
    assert command_line(["trade", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    # What Typer itself refuses stands in its box.
    assert code == 2 or len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "script", ["no JSON", "{}", '["x"]', '[{"on": "GET"}]', '[{"kind": "HANG", "more": 1}]']
)
def test_a_wrong_script_of_faults_is_one_sentence(
    script: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "faults.json"
    file.write_text(script)
    assert command_line(["trade", "venue", "serve", "--faults", str(file)]) == 64
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["positions", "orders", "equity", "decisions", "blocks", "hooks"])
def test_where_nothing_has_run_yet_there_is_nothing_to_show(name: str, capsys: Capture) -> None:
    assert ask(capsys, name) == []
    assert command_line(["trade", name]) == 0
    assert "nothing" in capsys.readouterr().out


def test_how_the_venue_stands_is_told_where_nothing_has_run_yet(capsys: Capture) -> None:
    assert ask(capsys, "venue", "status") == {"venue": "paper", "unsettled_orders": 0}


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


def test_a_backtest_is_read_as_a_table_too(tmp_path: Path, capsys: Capture) -> None:
    file = recorded(tmp_path / "eth.csv")
    assert command_line(["trade", "backtest", "--data", str(file)]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "costs_r fees 0." in told
    assert "passed_over –" in told
    assert "{" not in told


def test_a_broken_file_is_one_sentence(tmp_path: Path, capsys: Capture) -> None:
    file = recorded(tmp_path / "eth.csv")
    file.write_text(file.read_text()[:-9])
    assert command_line(["trade", "backtest", "--data", str(file)]) == 2
    assert str(file) in capsys.readouterr().err
