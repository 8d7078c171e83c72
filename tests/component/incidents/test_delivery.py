"""Notices reach real receivers: a webhook and a mail server on loopback."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from homeostat.clock import utcnow
from homeostat.incidents import delivery, notices
from homeostat.incidents.delivery import DeliveryError, Outgoing
from homeostat.store import database
from homeostat.store.incidents import Notice
from homeostat.store.jobs import Job, JobState
from tasks.incidents import notify
from tests.component.incidents.scenes import fail
from tests.conftest import forget_settings

OUTGOING = Outgoing("id", "opened", "[critical] shop_ValueError_1 opened", "order 7 is not open")


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class names it
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, received


class MailHandler(socketserver.StreamRequestHandler):
    """Speaks as much of RFC 5321 as a client needs to leave one mail."""

    mails: ClassVar[list[str]]

    def handle(self) -> None:
        self.wfile.write(b"220 loopback\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.mails.append(b"".join(lines).decode())
            if word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


def test_a_webhook_receives_the_notice() -> None:
    with webhook() as (port, received):
        delivery.send(OUTGOING, [f"json://127.0.0.1:{port}/hook"])
    (found,) = received
    assert found["title"] == OUTGOING.title
    assert found["message"] == OUTGOING.body
    assert found["type"] == "failure"


def test_a_mail_server_receives_the_notice() -> None:
    class Handler(MailHandler):
        mails: ClassVar[list[str]] = []

    with serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        delivery.send(
            OUTGOING, [f"mailto://127.0.0.1:{port}/?from=homeostat@lan.test&to=ann@lan.test"]
        )
    (mail,) = Handler.mails
    assert "shop_ValueError_1 opened" in mail
    assert "order 7 is not open" in mail
    assert "ann@lan.test" in mail


def test_every_receiver_gets_it() -> None:
    with webhook() as (one, first), webhook() as (two, second):
        delivery.send(OUTGOING, [f"json://127.0.0.1:{one}", f"json://127.0.0.1:{two}"])
    assert len(first) == len(second) == 1


def test_a_refusal_is_an_error_that_says_what_to_do() -> None:
    with webhook(500) as (port, _), pytest.raises(DeliveryError, match="HOMEOSTAT_NOTIFY_URLS"):
        delivery.send(OUTGOING, [f"json://127.0.0.1:{port}"])
    with pytest.raises(DeliveryError, match="not understand"):
        delivery.send(OUTGOING, ["nonsense"])
    with pytest.raises(DeliveryError, match="No receiver"):
        delivery.send(OUTGOING, [])


def test_no_secret_goes_out() -> None:
    leaky = Outgoing("id", "opened", "token=abcdef-123456", "https://ann:hunter2@db.lan refused")
    with webhook() as (port, received):
        delivery.send(leaky, [f"json://127.0.0.1:{port}"])
    assert "abcdef" not in str(received)
    assert "hunter2" not in str(received)


@pytest.mark.usefixtures("store")
def test_an_incident_is_announced_from_its_row_to_the_receiver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with webhook() as (port, received):
        monkeypatch.setenv("HOMEOSTAT_NOTIFY_URLS", f"json://127.0.0.1:{port}")
        forget_settings()
        incident = fail()
        with database.reading() as session:
            (job,) = session.scalars(select(Job).where(Job.task == notices.TASK)).all()
            assert job.queue == "incidents"
            notice_id = job.kwargs["notice_id"]
        with database.transaction() as session:
            outgoing = delivery.claim(session, notice_id)
        assert outgoing is not None
        # A second worker, and a second delivery of the same message, find nothing to do.
        with database.transaction() as session:
            assert delivery.claim(session, notice_id) is None
        delivery.send(outgoing)
        with database.transaction() as session:
            assert delivery.mark_sent(session, notice_id)
            assert not delivery.mark_sent(session, notice_id)
            assert delivery.claim(session, notice_id) is None
    assert [incident.label in one["title"] for one in received] == [True]


@pytest.mark.usefixtures("sqlite_store")
def test_a_failed_delivery_is_tried_again() -> None:
    fail()
    with database.transaction() as session:
        notice_id = session.scalars(select(Notice.id)).one()
        assert delivery.claim(session, notice_id) is not None
        assert delivery.mark_failed(session, notice_id, "refused")
        assert session.get_one(Notice, notice_id).error == "refused"
    with database.transaction() as session:
        assert delivery.claim(session, notice_id) is not None


@pytest.mark.usefixtures("sqlite_store")
def test_a_notice_whose_worker_died_is_sent_once_its_claim_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look() -> tuple[bool, str]:
        with database.reading() as session:
            job = session.scalars(select(Job).where(Job.task == notices.TASK)).one()
            return session.scalars(select(Notice)).one().sent_at is not None, job.state

    with webhook() as (port, received):
        monkeypatch.setenv("HOMEOSTAT_NOTIFY_URLS", f"json://127.0.0.1:{port}")
        forget_settings()
        fail()
        with database.transaction() as session:
            job = session.scalars(select(Job).where(Job.task == notices.TASK)).one()
            delivery.claim(session, str(job.kwargs["notice_id"]))
        arguments = {**job.kwargs, "job_id": job.id}
        notify(**arguments)
        assert look() == (False, job.state), "another worker may be at it, or have died"
        with database.transaction() as session:
            session.scalars(select(Notice)).one().claimed_at = utcnow() - delivery.CLAIM * 2
        notify(**arguments)
        assert look() == (True, JobState.DONE)
        notify(**arguments)
    assert len(received) == 1


@pytest.mark.usefixtures("sqlite_store")
def test_without_a_receiver_the_notice_is_kept_and_no_job_written() -> None:
    fail()
    with database.reading() as session:
        assert session.scalars(select(Notice)).one().sent_at is None
        assert session.scalars(select(Job).where(Job.task == notices.TASK)).all() == []
