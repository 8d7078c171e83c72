"""The registry finds what ships and what is plugged in, and a broken plugin is a value."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeostat import registry
from homeostat.errors import UnknownComponentError
from homeostat.registry import LoadFailure

GOOD = """
from homeostat.component import Component, ComponentSpec, CycleResult, Evidence, Wing

class Thermometer(Component):
    spec = ComponentSpec(name="thermometer", wing=Wing.PLUGINS, tier=5, summary="Measures.",
                         interval_s=7)
    def probe(self, session):
        return Evidence(claim="reads", passed=True, observed={"c": 20})
    def run(self, session, due_at):
        return CycleResult(work=1, observed={"c": 20})
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with two plugins, of which one cannot be imported."""
    site = tmp_path / "site"
    info = site / "weather-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weather\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[homeostat.components]\n"
        "thermometer = weather_good:Thermometer\nbarometer = weather_bad:Barometer\n"
    )
    (site / "weather_good.py").write_text(GOOD)
    (site / "weather_bad.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(str(site))
    registry._plugins.cache_clear()
    yield site
    registry._plugins.cache_clear()
    for name in ("weather_good", "weather_bad"):
        sys.modules.pop(name, None)


def test_every_component_that_ships_loads_under_its_file_s_name() -> None:
    loaded = dict(registry.load_all())
    broken = {name: found for name, found in loaded.items() if isinstance(found, LoadFailure)}

    assert broken == {}
    assert sorted(loaded) == sorted(registry.names())


def test_every_need_is_a_component_of_a_tier_no_higher() -> None:
    specs = registry.specs()

    for name, spec in specs.items():
        for need in spec.needs:
            assert need in specs, f"{name} needs {need}, which nobody declares"
            assert specs[need].tier <= spec.tier, f"{name} needs {need} of a later tier"


@pytest.mark.usefixtures("distribution")
def test_a_plugin_is_found_by_its_entry_point() -> None:
    assert registry.load("plugins.thermometer").spec.interval_s == 7


@pytest.mark.usefixtures("distribution")
def test_a_broken_plugin_is_a_failure_with_its_cause_and_harms_no_other() -> None:
    loaded = dict(registry.load_all())

    broken = loaded["plugins.barometer"]
    assert isinstance(broken, LoadFailure)
    assert "no_such_library" in str(broken.error)
    assert not isinstance(loaded["plugins.thermometer"], LoadFailure)


def test_an_unknown_name_is_refused_with_where_to_look() -> None:
    with pytest.raises(UnknownComponentError, match="component list"):
        registry.load("kernels.perpetuum_mobile")
