"""The pages in a real browser, against a running stack."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.waiting import wait_until

CHROMIUM = shutil.which("chromium")
#: A browser that asks nobody for anything but the page it was sent to.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
PAGES = {
    "/": "Status",
    "/incidents": "Incidents",
    "/approvals": "Approvals",
    "/audit": "Audit log",
    "/reports": "Reports",
    "/events": "Live events",
    "/docs": "API",
}
#: Run in the stack's environment: what the pages are to show.
PLANT = """
from datetime import timedelta
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.store import approvals, audit
from homeostat.store.database import transaction
with transaction() as session:
    failure = Failure.without_frames("OddError", "The <i>gribble</i> jammed.", "cli", "workers.x")
    incident = report(session, failure, severity="low").id
    approval = approvals.request(
        session, action="refactor.apply", subject="planted", risk="low",
        requested_by="kernels.meta_loop", plan="- a\\n+ b", valid_for=timedelta(hours=1),
    ).id
    audit.append(session, actor="planter", action="plant.seed", resource="planted")
print(incident, approval)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@dataclass(frozen=True)
class Site:
    """A running stack with its address, its token and what was planted."""

    url: str
    token: str
    environment: dict[str, str]
    incident: str
    approval: str

    def python(self, code: str) -> str:
        """Run code in the stack's environment and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("stack") / "var"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HOMEOSTAT_")}
    environment["HOMEOSTAT_STATE_DIR"] = str(folder)
    log = (folder.parent / "up.log").open("wb")
    stack = subprocess.Popen(
        [sys.executable, "-m", "homeostat.cli", "up"],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until((folder / "api.json").exists, "the stack's API is up", timeout=90)
        url = json.loads((folder / "api.json").read_text())["url"]
        token = (folder / "api.token").read_text()
        bare = Site(url, token, environment, "", "")
        incident, approval = bare.python(PLANT).split()
        yield Site(url, token, environment, incident, approval)
    finally:
        stack.send_signal(signal.SIGTERM)
        stack.wait(60)
        log.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A page, what its console complained of, and whom it asked."""

    page: Page
    complaints: list[str]
    hosts: set[str]


@pytest.fixture
def visit(site: Site, browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    seen = Visit(page, [], set())
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.hosts.add(request.url.split("/")[2]))
    page.goto("/")
    page.get_by_label("Token").fill(site.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Status", level=1)).to_be_visible()
    yield seen
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_each_page_opens_without_a_complaint_and_asks_nobody_else(
    visit: Visit, site: Site, path: str
) -> None:
    visit.page.goto(path)
    expect(visit.page.get_by_role("heading", name=PAGES[path], level=1)).to_be_visible()
    assert visit.complaints == []
    assert visit.hosts == {site.url.split("/")[2]}


@pytest.mark.parametrize("path", PAGES)
def test_each_page_fits_a_narrow_screen(visit: Visit, path: str) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 800})
    visit.page.goto(path)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert visit.page.evaluate(overflow) <= 0


def test_a_wrong_token_is_refused_in_words(site: Site, browser: Browser) -> None:
    page = browser.new_page(base_url=site.url)
    page.goto("/incidents")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.close()


def test_the_status_shows_components_earn_their_state(visit: Visit) -> None:
    row = visit.page.get_by_role("row", name=re.compile(r"^kernels\.self_healing "))
    expect(row).to_be_visible()

    def earned() -> bool:
        visit.page.reload()
        return "RUNNING" in row.inner_text() or "DEGRADED" in row.inner_text()

    wait_until(earned, "a check of self_healing has run and is shown", timeout=60)
    row.get_by_role("link").click()
    expect(visit.page.get_by_role("heading", name="kernels.self_healing")).to_be_visible()
    expect(visit.page.locator("pre").first).to_contain_text("killed")
    expect(visit.page.locator(".passed").first).to_be_visible()


def test_an_incident_is_read_with_its_timeline_and_taken_on(visit: Visit, site: Site) -> None:
    page = visit.page
    page.goto(f"/incidents/{site.incident}")
    expect(page.locator("code").first).to_contain_text("The <i>gribble</i> jammed.")
    expect(page.locator("ol.timeline li").first).to_contain_text("opened")
    page.get_by_label("Note").fill("mine")
    page.get_by_role("button", name="Take it on").click()
    expect(page.get_by_text("acknowledged")).to_be_visible()
    page.get_by_text("Show", exact=True).click()
    expect(page.locator("details pre")).to_be_visible()


def test_an_approval_is_decided_in_the_browser_and_its_trace_is_in_the_audit_log(
    visit: Visit, site: Site
) -> None:
    page = visit.page
    page.goto("/approvals")
    expect(page.get_by_text("+ b")).to_be_visible()
    page.get_by_label("Reason").fill("looks right")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    page.goto("/audit")
    page.get_by_label("Action").fill("approval.approve")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("cell", name=site.approval)).to_be_visible()


def test_an_event_appears_on_the_live_page_without_a_reload(visit: Visit, site: Site) -> None:
    page = visit.page
    page.goto("/events")
    expect(page.get_by_role("status")).to_have_text("listening")
    site.python(
        "from homeostat.store import audit\n"
        "from homeostat.store.database import transaction\n"
        "with transaction() as session:\n"
        "    audit.append(session, actor='late', action='late.act', resource='seen live')\n"
    )
    expect(page.locator("#live tr", has_text="seen live")).to_be_visible(timeout=15_000)


def test_a_picture_of_each_page_is_taken(visit: Visit, tmp_path: Path) -> None:
    for path, heading in PAGES.items():
        visit.page.goto(path)
        picture = tmp_path / f"{heading}.png"
        visit.page.screenshot(path=picture)
        assert picture.stat().st_size > 5_000
