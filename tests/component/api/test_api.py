"""The HTTP door, over the real application and a migrated database."""

from __future__ import annotations

import inspect
import re
import stat
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from homeostat import registry
from homeostat.api import create_app, live
from homeostat.api.app import STATIC
from homeostat.api.json_api import router
from homeostat.incidents.failure import Failure
from homeostat.incidents.recognition import report
from homeostat.settings import settings
from homeostat.store import approvals, audit
from homeostat.store.database import transaction
from homeostat.store.jobs import Job
from homeostat.supervision import api_access

pytestmark = pytest.mark.usefixtures("sqlite_store")

PAGES = ("/", "/incidents", "/approvals", "/audit", "/reports", "/events", "/docs")


@pytest.fixture
def outside() -> Iterator[TestClient]:
    with TestClient(create_app(), follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(outside: TestClient) -> TestClient:
    outside.headers["Authorization"] = f"Bearer {api_access.token(settings())}"
    return outside


@pytest.fixture
def browser(outside: TestClient) -> TestClient:
    answer = outside.post("/login", data={"token": api_access.token(settings())})
    assert answer.status_code == 303
    return outside


def planted_incident() -> str:
    with transaction() as session:
        failure = Failure.without_frames(
            "WorkerLostError", "The process worker ended <b>unasked</b>.", "worker", "workers.main"
        )
        return report(session, failure).id


def planted_approval() -> str:
    with transaction() as session:
        return approvals.request(
            session,
            action="fix.apply",
            subject="incident-1",
            risk="high",
            requested_by="kernels.coding_agent",
            plan="--- a/x.py\n+++ b/x.py\n+<script>alert(1)</script>",
            valid_for=timedelta(hours=1),
        ).id


def test_the_token_lies_in_a_file_that_only_its_owner_reads() -> None:
    token = api_access.token(settings())
    path = settings().state_dir / api_access.TOKEN_FILE
    assert path.read_text() == token
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert api_access.token(settings()) == token


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", "Bearer ", "Bearer é"])
def test_every_route_of_the_api_is_refused_without_the_token(
    outside: TestClient, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.encode()}
    asked = 0
    for route in [*router.routes]:
        for method in route.methods:  # type: ignore[attr-defined]  # starlette's base has none
            path = route.path.replace("{name:path}", "x").replace("{name}", "x")  # type: ignore[attr-defined]
            path = path.replace("{incident_id}", "x").replace("{approval_id}", "x")
            answer = outside.request(method, path, headers=headers)
            assert answer.status_code == 401, (method, path)
            asked += 1
    assert outside.get("/metrics", headers=headers).status_code == 401
    assert asked >= 12


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_a_session_leads_to_the_login(outside: TestClient, page: str) -> None:
    answer = outside.get(page)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_shown_to_a_browser_with_a_session(browser: TestClient, page: str) -> None:
    answer = browser.get(page)
    assert answer.status_code == 200
    assert "text/html" in answer.headers["content-type"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_wrong_token_gives_no_session(outside: TestClient) -> None:
    answer = outside.post("/login", data={"token": "wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert outside.get("/").status_code == 303


def test_a_forged_or_old_cookie_is_no_session(outside: TestClient) -> None:
    for cookie in ("1.0", "9999999999.abc", "x", "²3.ab", f"1.{'0' * 64}"):
        answer = outside.get("/", headers={"Cookie": f"homeostat_session={cookie}".encode()})
        assert answer.status_code == 303, cookie


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(outside: TestClient) -> None:
    answer = outside.post("/login", data={"token": api_access.token(settings())})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_a_session_alone_cannot_post_to_the_api(browser: TestClient) -> None:
    incident = planted_incident()
    answer = browser.post(f"/api/v1/incidents/{incident}/resolve", json={"by": "mallory"})
    assert answer.status_code == 401


def test_a_form_from_elsewhere_is_refused(browser: TestClient) -> None:
    incident = planted_incident()
    path = f"/incidents/{incident}/acknowledge"
    assert browser.post(path, data={"form_key": "guessed"}).status_code == 403
    assert browser.get(f"/incidents/{incident}").text.count("Taken on by</dt><dd>nobody") == 1


def test_a_foreign_host_name_is_refused(client: TestClient) -> None:
    assert client.get("/api/v1/status", headers={"Host": "evil.example"}).status_code == 400


def test_the_status_names_every_component_and_knows_nothing_of_what_never_ran(
    client: TestClient,
) -> None:
    told = client.get("/api/v1/status").json()
    assert [one["name"] for one in told["components"]] != []
    assert {one["name"] for one in told["components"]} == set(registry.names())
    assert told["counts"]["RUNNING"] == 0
    assert told["counts"]["UNKNOWN"] + told["counts"]["FAILED"] == len(told["components"])


def test_an_incident_is_told_with_its_timeline_and_bundle(client: TestClient) -> None:
    incident = planted_incident()
    listed = client.get("/api/v1/incidents").json()
    assert [one["id"] for one in listed] == [incident]
    told = client.get(f"/api/v1/incidents/{incident}").json()
    assert told["type"] == "WorkerLostError"
    assert [step["event"] for step in told["timeline"]]
    answer = client.post(f"/api/v1/incidents/{incident}/acknowledge", json={"by": "ada"})
    assert answer.json()["acknowledged_by"] == "ada"
    again = client.post(f"/api/v1/incidents/{incident}/acknowledge", json={"by": "bob"})
    assert again.status_code == 409
    assert client.post(f"/api/v1/incidents/{incident}/resolve", json={}).status_code == 200
    assert client.get("/api/v1/incidents").json() == []


def test_what_is_unknown_is_not_found_and_said_in_words(client: TestClient) -> None:
    for path in ("incidents/nope", "components/nope", "reports/nope"):
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 404, path
        assert "nope" in answer.json()["detail"]


def test_an_unknown_field_is_refused(client: TestClient) -> None:
    incident = planted_incident()
    answer = client.post(f"/api/v1/incidents/{incident}/resolve", json={"bye": "ada"})
    assert answer.status_code == 422


def test_a_page_escapes_what_a_failure_says(browser: TestClient) -> None:
    incident = planted_incident()
    planted_approval()
    assert "<b>unasked" not in browser.get("/incidents").text
    assert "<b>unasked" not in browser.get(f"/incidents/{incident}").text
    assert "<script>alert" not in browser.get("/approvals").text
    assert "&lt;script&gt;alert" in browser.get("/approvals").text


def decided(approval_id: str) -> Job:
    with transaction() as session:
        key = f"fix_analysis.decided:{approval_id}"
        return session.scalars(select(Job).where(Job.natural_key == key)).one()


def test_a_decision_by_api_stands_though_no_broker_takes_what_follows(client: TestClient) -> None:
    approval = planted_approval()
    said = {"decision": "approve", "by": "ann"}
    assert client.post(f"/api/v1/approvals/{approval}", json=said).status_code == 200
    assert decided(approval).state == "pending", "the sweeper will send it"
    again = client.post(f"/api/v1/approvals/{approval}", json=said)
    assert (again.status_code, "approved already" in again.json()["detail"]) == (409, True)


def test_a_decision_on_the_pages_writes_what_follows_too(browser: TestClient) -> None:
    approval = planted_approval()
    form_key = form_key_of(browser.get("/approvals").text)
    form = {"form_key": form_key, "decision": "reject", "reason": "no"}
    assert browser.post(f"/approvals/{approval}", data=form).status_code == 303
    assert decided(approval).kwargs == {"approval_id": approval}


def test_the_audit_log_is_paged_and_searched(client: TestClient) -> None:
    with transaction() as session:
        for number in range(7):
            actor = "ada" if number % 2 else "bob"
            audit.append(session, actor=actor, action=f"act.{number}", resource="r")
    first = client.get("/api/v1/audit", params={"most": 5}).json()
    assert [row["sequence"] for row in first] == [7, 6, 5, 4, 3]
    rest = client.get("/api/v1/audit", params={"before": 3}).json()
    assert [row["sequence"] for row in rest] == [2, 1]
    assert len(client.get("/api/v1/audit", params={"actor": "ada"}).json()) == 3


def test_a_report_is_served_and_nothing_outside_its_folder(client: TestClient) -> None:
    folder = settings().state_dir / "reports" / "run-1"
    folder.mkdir(parents=True)
    (folder / "report.md").write_text("# STABLE")
    (folder / "secret.key").write_text("no")
    assert [one["name"] for one in client.get("/api/v1/reports").json()] == ["run-1/report.md"]
    assert client.get("/api/v1/reports/run-1/report.md").text == "# STABLE"
    token = api_access.token(settings())
    for name in ("run-1/secret.key", "../api.token", "%2e%2e/api.token", "..%2fapi.token"):
        answer = client.get(f"/api/v1/reports/{name}")
        assert answer.status_code in {403, 404}, name
        assert token not in answer.text


def test_the_metrics_show_each_component_in_one_state(client: TestClient) -> None:
    planted_incident()
    text = client.get("/metrics").text
    for name in registry.names():
        states = [
            line for line in text.splitlines() if f'component_state{{component="{name}"' in line
        ]
        assert sorted(line.rsplit(" ", 1)[1] for line in states) == ["0.0", "0.0", "0.0", "1.0"]
    assert 'homeostat_open_incidents{severity="critical",state="open"} 1.0' in text


def test_openapi_names_every_route_and_its_scheme(client: TestClient) -> None:
    described = client.get("/api/v1/openapi.json").json()
    assert "HTTPBearer" in described["components"]["securitySchemes"]
    assert {"/api/v1/status", "/api/v1/incidents/{incident_id}", "/metrics"} <= set(
        described["paths"]
    )


def form_key_of(page: str) -> str:
    return page.split('name="form_key" value="')[1].split('"', maxsplit=1)[0]


def test_a_page_that_is_not_there_is_a_page_that_says_so(browser: TestClient) -> None:
    for path, code, words in (
        ("/nowhere", 404, "There is no page at /nowhere"),
        ("/incidents?state=gone", 422, "No incident can be"),
        ("/audit?before=x", 422, "before cannot be &#39;x&#39;"),
    ):
        answer = browser.get(path)
        assert (answer.status_code, words in answer.text) == (code, True), answer.text
        assert answer.headers["content-type"].startswith("text/html")
        assert "Log out" in answer.text, "and it leads on"
    assert browser.get("/api/v1/incidents?state=gone").status_code == 422
    assert browser.get("/incidents?state=escalated").status_code == 200
    assert browser.get("/api/v1/nowhere").json() == {"detail": "Not Found"}


def test_a_browser_can_log_out(browser: TestClient) -> None:
    assert browser.post("/logout", data={}).status_code == 403, "no other site can do it"
    form = {"form_key": form_key_of(browser.get("/").text)}
    assert browser.post("/logout", data=form).headers["location"] == "/login"
    assert browser.get("/").status_code == 303


def test_the_live_page_shows_each_kind_of_event_that_is_told() -> None:
    told = set(re.findall(r'_event\("(\w+)"', inspect.getsource(live)))
    script = (STATIC / "live.js").read_text()
    shown = re.search(r"of \[(.*?)\]", script)
    assert shown is not None
    assert told == {kind.strip(' "') for kind in shown[1].split(",")} != set()


def test_openapi_says_how_each_route_may_refuse(client: TestClient) -> None:
    told = client.get("/api/v1/openapi.json").json()["paths"]
    for path, methods in told.items():
        for method, route in methods.items():
            refusals = set(route["responses"])
            assert {"401", "503"} <= refusals, (path, method)
            assert route["description"], (path, method)
            named = "{" in path and "approvals" not in path
            assert ("404" in refusals) is named, (path, method)
    stream = told["/api/v1/events"]["get"]["responses"]["200"]["content"]
    assert list(stream) == ["text/event-stream"]


def test_a_large_form_is_not_read_to_its_end(browser: TestClient) -> None:
    answer = browser.post("/login", content=b"token=" + b"x" * 100_000)
    assert answer.status_code == 401
