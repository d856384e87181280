"""Pages that read as a user who can only read, and stay up while their database or repository is away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from broker_process import BrokerProcess
from chromium import launch_chromium
from fault_proxy import Proxy
from kept_night import DETECTORS, OBJECT, VISITS, make_apdb, make_kept_night
from night_messages import a_visit, ended
from playwright.sync_api import BrowserContext, expect, sync_playwright
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ProgrammingError

from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.navigator.objects.search import ApdbReader, Criteria
from prompt_processing.navigator.remarks.store import RemarkStore, subject_of
from prompt_processing.nights.publishing import OutcomePublisher, TopicSink
from prompt_processing.nights.reading import Nights
from prompt_processing.nights.store import NightStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.service import free_port
from prompt_processing.transport.kafka import KafkaSettings

pytestmark = [pytest.mark.integration, pytest.mark.services, pytest.mark.usefixtures("warm_start")]

PASSWORD = "only-reads"


@dataclass
class Databases:
    """Databases, with the URLs of their owner and of a user who can only read."""

    nights: str
    nights_of_reader: str
    apdb_of_reader: str
    remarks: str


def write(url: str, number: int) -> None:
    """Write the outcome of a visit that has just ended."""
    store = NightStore(url)
    store.write([ended(a_visit(number), at=time.time())], {})
    store.close()


@pytest.fixture
def databases(
    postgresql: PostgreSql, new_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Databases:
    monkeypatch.setenv("LSST_DB_AUTH", str(postgresql.auth_file))
    role = new_name("reader").replace("-", "_")
    names = {what: new_name(what).replace("-", "_") for what in ("nights", "apdb", "remarks")}
    urls = {what: postgresql.create_database(name) for what, name in names.items()}
    write(urls["nights"], 1)
    with postgresql.connect() as owner:
        owner.autocommit = True
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    make_apdb(urls["apdb"])
    for what in ("nights", "apdb"):
        with postgresql.connect(names[what]) as owner:
            owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    of_reader = {
        what: make_url(urls[what]).set(username=role, password=PASSWORD).render_as_string(hide_password=False)
        for what in ("nights", "apdb")
    }
    return Databases(urls["nights"], of_reader["nights"], of_reader["apdb"], urls["remarks"])


def test_a_role_that_only_reads_serves_all_pages(databases: Databases) -> None:
    with Nights(databases.nights_of_reader) as nights:
        (visit,) = nights.latest().rows
        assert nights.detectors(visit.group)
    apdb = ApdbReader(databases.apdb_of_reader)
    assert len(apdb.sources(Criteria(object=OBJECT))) == 2
    apdb.close()
    # Without our own safeguards the server itself refuses, whatever a session sets.
    for url, table in ((databases.nights_of_reader, "visits"), (databases.apdb_of_reader, '"DiaSource"')):
        engine = create_engine(url)
        for statement in (f"DELETE FROM {table}", f"DROP TABLE {table}", "CREATE TABLE mine (n int)"):
            with engine.connect() as connection:
                connection.exec_driver_sql("SET default_transaction_read_only = off")
                with pytest.raises(ProgrammingError):
                    connection.exec_driver_sql(statement)
        engine.dispose()
    remarks = RemarkStore(databases.remarks)
    remarks.set_flag("object", subject_of("object", id=OBJECT), "odd", True, "ada")
    remarks.close()


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """Serve a page; yield its address."""
    port = free_port()
    words = [sys.executable, "-m", "prompt_processing", *command, "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "PGPASSWORD": PASSWORD})
    address = f"http://localhost:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urlopen(f"{address}/health/live", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def browser() -> Iterator[BrowserContext]:
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        context = chromium.new_context()
        context.set_default_timeout(60_000)
        yield context
        chromium.close()


def test_pages_outlive_their_database_and_recover(
    databases: Databases, browser: BrowserContext, tmp_path: Path
) -> None:
    place = make_url(databases.nights_of_reader)
    proxy = Proxy(place.port or 5432)
    through = place.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    group = ended(a_visit(1)).group
    with ExitStack() as stack:
        stack.callback(proxy.close)
        board = stack.enter_context(serving("board", through, "--workers", "1"))
        navigator = stack.enter_context(serving("navigator", "--nights", through))
        seen = [browser.new_page() for _ in range(3)]
        for page, address in zip(
            seen, (board, f"{navigator}/nights", f"{navigator}/visit?visit={group}"), strict=True
        ):
            page.goto(address)
        expect(seen[0].locator("#tiles .tile.done dd")).to_have_text("1", timeout=60_000)
        expect(seen[1].get_by_text("1 done").first).to_be_visible(timeout=60_000)
        expect(seen[2].get_by_text("1 done").first).to_be_visible(timeout=60_000)

        proxy.refusing = True
        proxy.cut()
        expect(seen[0].locator("#notice")).to_have_text(re.compile("The data are of"), timeout=60_000)
        for page in seen[1:]:
            expect(page.get_by_text(re.compile(r"What is shown is of 20\d\d-"))).to_be_visible(timeout=60_000)
            expect(page.get_by_text("1 done").first).to_be_visible()
        # One that is opened now stays up, too.
        late = browser.new_page()
        late.goto(f"{navigator}/nights")
        expect(late.get_by_text("This cannot be shown now.")).to_be_visible(timeout=60_000)

        write(databases.nights, 2)
        proxy.flow()
        expect(seen[0].locator("#tiles .tile.done dd")).to_have_text("2", timeout=60_000)
        expect(seen[0].locator("#notice")).to_have_text("", timeout=60_000)
        for page in (seen[1], late):
            expect(page.get_by_text("2 done").first).to_be_visible(timeout=60_000)
        for page in (*seen[1:], late):
            expect(page.locator(".message")).to_have_count(0, timeout=60_000)


def test_pages_say_since_when_kafka_is_down_and_recover(browser: BrowserContext, tmp_path: Path) -> None:
    topic, port, database = "prompt-outcomes", free_port(), tmp_path / "night.db"
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}")
    arguments = (tmp_path / "kafka", f"--port={port}", topic)
    command = [sys.executable, "-m", "prompt_processing", "nights", "project"]
    environment = {
        **os.environ,
        "KAFKA_CLUSTER": kafka.bootstrap_servers,
        "OUTCOME_TOPIC": topic,
        "NIGHTS_DATABASE": str(database),
    }
    publisher = OutcomePublisher(TopicSink(kafka, topic))
    with ExitStack() as stack:
        broker = BrokerProcess(*arguments)
        stack.callback(lambda: broker.close())
        projector = subprocess.Popen(command, env=environment)
        stack.callback(projector.wait)
        stack.callback(projector.kill)
        publisher.begin(a_visit(1)).end(Outcome(Status.PROCESSED, "Done."))
        board = stack.enter_context(serving("board", str(database), "--workers", "1"))
        navigator = stack.enter_context(serving("navigator", "--nights", str(database)))
        seen = [browser.new_page() for _ in range(2)]
        for page, address in zip(seen, (board, f"{navigator}/nights"), strict=True):
            page.goto(address)
        expect(seen[0].locator("#tiles .tile.done dd")).to_have_text("1", timeout=60_000)
        expect(seen[1].get_by_text("1 done").first).to_be_visible(timeout=60_000)

        broker.close()
        since = re.compile(r"No projector has looked for outcomes since 20\d\d-")
        expect(seen[0].locator("#notice")).to_have_text(since, timeout=120_000)
        expect(seen[1].get_by_text(since)).to_be_visible(timeout=120_000)
        expect(seen[1].get_by_text("1 done").first).to_be_visible()

        broker = BrokerProcess(*arguments)
        publisher.begin(a_visit(2)).end(Outcome(Status.PROCESSED, "Done."))
        expect(seen[0].locator("#tiles .tile.done dd")).to_have_text("2", timeout=120_000)
        expect(seen[0].locator("#notice")).to_have_text("", timeout=60_000)
        expect(seen[1].get_by_text("2 done").first).to_be_visible(timeout=60_000)
        expect(seen[1].get_by_text(since)).to_have_count(0, timeout=60_000)
        publisher.close(10)


def test_detector_page_outlives_its_repository_and_recovers(browser: BrowserContext, tmp_path: Path) -> None:
    folder = make_kept_night(tmp_path)
    repository = folder / "repository"
    with serving("navigator", str(folder)) as navigator:
        repository.rename(folder / "away")
        page = browser.new_page()
        page.goto(f"{navigator}/detector?visit={VISITS[0]}&detector={DETECTORS[0]}")
        expect(page.get_by_text(re.compile("repository .* cannot be read"))).to_be_visible(timeout=60_000)
        (folder / "away").rename(repository)
        expect(page.get_by_text("preliminary_visit_image", exact=True)).to_be_visible(timeout=60_000)
        expect(page.locator(".message")).to_have_count(0, timeout=60_000)
