"""Flower in a real browser: every component's task by name, and nothing without the password."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

from homeostat import registry
from tests.running_stack import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Chromium must reach nothing but the page under test.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield found
        found.close()


def credentials(stack: RunningStack) -> tuple[str, str]:
    user, _, password = Path(stack.state["flower_auth"]).read_text().strip().partition(":")
    return user, password


def test_the_browser_is_refused_without_the_password(stack: RunningStack, browser: Browser) -> None:
    page = browser.new_page()
    try:
        answer = page.goto(f"{stack.state['flower_url']}/workers")
    except Error as error:
        # A browser that has no password to give shows an error page in place of a 401.
        assert "ERR_INVALID_AUTH_CREDENTIALS" in str(error)  # noqa: PT017  # either is a refusal
    else:
        assert answer is not None
        assert answer.status == 401
    page.close()


def test_flower_shows_every_components_task_by_name(stack: RunningStack, browser: Browser) -> None:
    user, password = credentials(stack)
    context = browser.new_context(http_credentials={"username": user, "password": password})
    page = context.new_page()
    url = stack.state["flower_url"]

    page.goto(f"{url}/workers")
    node = wait_until(
        lambda: next(
            (
                text
                for link in page.locator("a[href*='/worker/']").all()
                if (text := (link.text_content() or "").strip()).startswith("main@")
            ),
            "",
        ),
        "Flower knows the main worker",
    )
    names = [f"checks.{name}" for name in registry.names()] + ["upkeep.sweep"]

    def all_named() -> bool:
        # A worker that is busy answers Flower too late for the page that is shown first.
        page.goto(f"{url}/worker/{node}")
        page.get_by_role("tab", name="Tasks", exact=False).first.click()
        shown = page.content()
        return all(name in shown for name in names)

    wait_until(all_named, "Flower names every task of the main worker")

    # A task that ran is listed by its name.
    stack.send("stress.effect", key="for-flower")

    def listed() -> bool:
        page.goto(f"{url}/tasks")
        page.wait_for_load_state("networkidle")
        return "stress.effect" in page.content()

    wait_until(listed, "the task that ran is in the list")
    context.close()
