"""Notebooks behind the edge: a person logs in, gets a server, and runs a notebook to its end in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
import requests
from chromium import launch_chromium
from edge_login import PAGE, log_in
from kept_night import make_kept_night
from playwright.sync_api import expect, sync_playwright
from pydantic import SecretStr
from real_services import required

from prompt_processing.edge import Edge, Pages
from prompt_processing.hub import Hub, NightData
from prompt_processing.services.server import Server
from prompt_processing.services.software import Software

pytestmark = [pytest.mark.integration, pytest.mark.services]

CODE = """\
import os
from lsst.daf.butler import Butler
from prompt_processing.nights.reading import Nights
nights = Nights(os.environ["NIGHTS_DATABASE"])
runs = Butler.from_config(os.environ["CENTRAL_REPO"]).collections.query("*/prompt/output*")
print(sum(night.n_visits for night in nights.nights().rows), "visits in", *runs)"""


@dataclass
class Running:
    """A hub behind an edge."""

    hub: Hub
    edge: Edge
    trusted: str


def notebook_servers(hub: Hub) -> list[psutil.Process]:
    """Return the notebook servers that run in this hub's home folders."""
    homes = str(hub.folder / "homes")
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words, variables = process.info["cmdline"] or [], process.info["environ"] or {}
        if "jupyterhub.singleuser" in words and variables.get("HOME", "").startswith(homes):
            found.append(process)
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("hub")
    software = Software()
    required("the edge", software.install_edge)
    tutorials = folder / "tutorials"
    tutorials.mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "prompt", "language": "python"}
    nbformat.write(notebook, tutorials / "count.ipynb")
    night = make_kept_night(folder / "night")
    hub = Hub(folder=folder / "hub", data=NightData.of_demo(night), notebooks=tutorials)
    required("the hub", lambda: hub.prepare(software))
    server = Server("hub", hub.command(software), hub.ready, folder / "hub.log", detached=False)
    try:
        server.start()
        server.wait_ready(300.0)
        token = SecretStr(hub.token)
        with Edge(folder / "edge", Pages(hub=hub.address()), hub_token=token) as edge:
            assert edge.authority is not None
            trusted = folder / "trusted.pem"
            trusted.write_text(edge.authority.issuer())
            yield Running(hub, edge, str(trusted))
    finally:
        server.stop(60.0)
    assert notebook_servers(hub) == []


def test_scientist_logs_in_and_runs_a_notebook_to_its_end(running: Running) -> None:
    with sync_playwright() as playwright:
        chromium = launch_chromium(playwright)
        context = chromium.new_context(ignore_https_errors=True, viewport={"width": 1300, "height": 900})
        page = context.new_page()
        page.set_default_timeout(300_000)
        expect.set_options(timeout=300_000)
        page.goto(f"{running.edge.url}/hub/")
        page.locator("input[name=sub]").fill("scientist")
        page.locator("input[name=sub]").press("Enter")
        # No form of the hub's own: the edge's login is enough, and the server starts at once.
        page.wait_for_url(re.compile(r"/hub/user/scientist/lab"))
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        page.goto(f"{running.edge.url}/hub/user/scientist/lab/tree/tutorials/count.ipynb")
        # The toolbar says that a kernel is idle before there is one.
        expect(page.get_by_text("prompt | Idle")).to_be_visible()
        output = page.locator(".jp-OutputArea-output").first
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        expect(output).to_have_text(re.compile(r"2 visits in LSSTCam/prompt/output-2026-05-31"))
        chromium.close()
    ours = (running.edge.url, running.edge.url.replace("https", "wss"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(ours)] == []
    assert len(notebook_servers(running.hub)) == 1
    assert (running.hub.home("scientist") / "tutorials" / "count.ipynb").exists()


def test_nobody_enters_somebody_elses_server(running: Running) -> None:
    operator = log_in(running.edge, running.trusted, "operator")
    answer = operator.get(running.edge.url + "/hub/user/scientist/lab", headers=PAGE, allow_redirects=False)
    assert answer.status_code == 403
    assert "somebody else" in answer.text
    home = operator.get(running.edge.url + "/hub/hub/home", headers=PAGE)
    assert home.status_code == 200
    assert 'user: "operator"' in home.text
    visitor = log_in(running.edge, running.trusted, "visitor")
    assert visitor.get(running.edge.url + "/hub/hub/home", headers=PAGE).status_code == 403


def test_hub_follows_the_edges_login_and_not_its_own_cookie(running: Running) -> None:
    operator = log_in(running.edge, running.trusted, "operator")
    operator.get(running.edge.url + "/hub/hub/home", headers=PAGE)
    ours = {cookie.name for cookie in operator.cookies if cookie.path == "/hub/hub/"}
    assert ours
    # The same browser, after another person's login at the edge.
    scientist = log_in(running.edge, running.trusted, "scientist")
    for cookie in operator.cookies:
        if cookie.name in ours:
            scientist.cookies.set_cookie(cookie)
    home = scientist.get(running.edge.url + "/hub/hub/home", headers=PAGE)
    assert 'user: "scientist"' in home.text


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_login_that_does_not_come_through_the_edge_is_refused(running: Running, token: str | None) -> None:
    headers = {**PAGE, "X-Auth-Request-User": "scientist"}
    if token is not None:
        headers["X-Edge-Token"] = token
    for port in (running.hub.port, running.hub.hub_port):
        answer = requests.get(f"http://127.0.0.1:{port}/hub/hub/login", headers=headers, timeout=60)
        assert answer.status_code == 403


def test_secrets_are_neither_in_logs_nor_readable_by_others(running: Running) -> None:
    token = Path(running.hub.folder, "edge-token")
    assert token.stat().st_mode & 0o077 == 0
    assert running.hub.folder.stat().st_mode & 0o077 == 0
    for log in running.hub.folder.parent.rglob("*.log"):
        assert token.read_text() not in log.read_text(errors="replace"), log
