"""The edge before all pages: real certificates, a real login, and nothing behind it without one."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.web
import tornado.websocket
from edge_login import PAGE, log_in
from pydantic import SecretStr
from real_services import required
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from prompt_processing.edge import Edge, Pages
from prompt_processing.services.software import Software

pytestmark = [pytest.mark.integration, pytest.mark.services]

ROUTES = (
    "/",
    "/visit?night=20250610",
    "/navigator/",
    "/navigator/detector?x=1",
    "/hub/",
    "/flows/",
    "/flows/api",
)
VALIDITY = 30
HUB_TOKEN = "0123456789abcdef-of-the-hub"


class _Echo(tornado.web.RequestHandler):
    def get(self) -> None:
        self.write(json.dumps({"uri": self.request.uri, "headers": dict(self.request.headers)}))


class _Socket(tornado.websocket.WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    """Port of a page that answers with what it was asked, and has a websocket."""
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    loops: list[tornado.ioloop.IOLoop] = []
    up = threading.Event()

    def serve() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        server = tornado.httpserver.HTTPServer(tornado.web.Application([(r".*/ws", _Socket), (r".*", _Echo)]))
        server.add_sockets(sockets)
        loops.append(tornado.ioloop.IOLoop.current())
        up.set()
        loops[0].start()

    thread = threading.Thread(target=serve)
    thread.start()
    up.wait()
    yield sockets[0].getsockname()[1]
    loops[0].add_callback(loops[0].stop)
    thread.join()


class _Broken(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        # To the end of the headers, so that the connection is closed and not reset.
        request = b"".join(iter(self.rfile.readline, b"\r\n"))
        if b"/broken" in request:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na part")


@pytest.fixture(scope="module")
def broken_hub() -> Iterator[int]:
    """Port of a hub that answers nothing, and a part of ``/broken``."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Broken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def edge(page: int, broken_hub: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    here = f"127.0.0.1:{page}"
    pages = Pages(board=here, navigator=here, flows=here, hub=f"127.0.0.1:{broken_hub}")
    required("the edge", Software().install_edge)
    folder = tmp_path_factory.mktemp("edge")
    with Edge(
        folder, pages, validity_seconds=VALIDITY, renew_seconds=1.0, hub_token=SecretStr(HUB_TOKEN)
    ) as started:
        yield started


@pytest.fixture(scope="module")
def trusted(edge: Edge) -> str:
    """File with the certificate that verifies the edge's."""
    assert edge.authority is not None
    file = edge.folder / "trusted.pem"
    file.write_text(edge.authority.issuer())
    return str(file)


@pytest.fixture(scope="module")
def operator(edge: Edge, trusted: str) -> requests.Session:
    return log_in(edge, trusted, "operator")


@pytest.fixture(scope="module")
def scientist(edge: Edge, trusted: str) -> requests.Session:
    return log_in(edge, trusted, "scientist")


def certificate(edge: Edge, trusted: str) -> dict[str, object]:
    context = ssl.create_default_context(cafile=trusted)
    host, port = edge.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return dict(secure.getpeercert() or {})


def test_certificate_is_of_the_authority(edge: Edge, trusted: str) -> None:
    found = certificate(edge, trusted)
    assert ("DNS", "localhost") in found["subjectAltName"]  # type: ignore[operator]
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(edge.url + "/edge/health", timeout=10)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_versions_of_tls_are_refused(edge: Edge) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Otherwise this machine's own policy refuses, and not the edge.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = edge.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)alert"),
    ):
        context.wrap_socket(plain, server_hostname=host)


def test_http_redirects_to_https(edge: Edge, trusted: str) -> None:
    answer = requests.get(edge.http_url + "/visit?a=b", allow_redirects=False, timeout=10)
    assert answer.status_code == 308
    assert answer.headers["Location"] == edge.url + "/visit?a=b"
    secure = requests.get(edge.url + "/edge/health", verify=trusted, timeout=10)
    assert secure.headers["Strict-Transport-Security"].startswith("max-age=31536000")


@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_shown_without_a_login(route: str, edge: Edge, trusted: str) -> None:
    answer = requests.get(edge.url + route, headers=PAGE, verify=trusted, allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/oauth2/start?rd=https://localhost:")
    for method, headers in (("GET", {}), ("POST", PAGE), ("GET", {"Accept": "application/json"})):
        answer = requests.request(method, edge.url + route, headers=headers, verify=trusted, timeout=10)
        assert answer.status_code == 401, method
        assert "Strict-Transport-Security" in answer.headers


@pytest.mark.parametrize("route", ["/ws", "/navigator/ws", "/hub/ws", "/flows/ws"])
def test_no_websocket_opens_without_a_login(route: str, edge: Edge, trusted: str) -> None:
    url = edge.url.replace("https", "wss") + route
    with pytest.raises(InvalidStatus) as refused:
        connect(url, ssl=ssl.create_default_context(cafile=trusted))
    assert refused.value.response.status_code == 401


def test_forged_cookies_and_names_do_not_pass(edge: Edge, trusted: str) -> None:
    headers = {
        **PAGE,
        "Cookie": "_oauth2_proxy=forged",
        "X-Auth-Request-User": "operator",
        "X-Auth-Request-Groups": "operators",
    }
    answer = requests.get(edge.url + "/", headers=headers, verify=trusted, allow_redirects=False, timeout=10)
    assert answer.status_code == 302


@pytest.mark.parametrize("asked", ["/navigator/detector?x=1&y=a%2Fb%20c", "/visit?night=20250610", "/flows/"])
def test_login_leads_back_to_the_page_that_was_asked_for(asked: str, edge: Edge, trusted: str) -> None:
    log_in(edge, trusted, "operator", asked)


def test_groups_see_what_is_theirs(
    edge: Edge, trusted: str, operator: requests.Session, scientist: requests.Session
) -> None:
    visitor = log_in(edge, trusted, "visitor")
    for route in ROUTES:
        ours = 502 if route.startswith("/hub") else 200
        assert operator.get(edge.url + route, headers=PAGE).status_code == ours, route
        theirs = 403 if route.startswith("/flows") else ours
        assert scientist.get(edge.url + route, headers=PAGE).status_code == theirs, route
        assert visitor.get(edge.url + route, headers=PAGE).status_code == 403, route


def test_page_learns_who_asks_from_the_login_alone(edge: Edge, scientist: requests.Session) -> None:
    forged = {
        "X-Auth-Request-User": "director",
        "X-Auth-Request-Groups": "operators",
        "X-Auth-Request-Preferred-Username": "director",
        "X-Forwarded-User": "director",
    }
    answer = scientist.get(edge.url + "/navigator/?a=1%2F2", headers=forged).json()
    assert answer["uri"] == "/navigator/?a=1%2F2"
    assert "director" not in str(answer)
    assert answer["headers"]["X-Auth-Request-User"] == "scientist"
    assert answer["headers"]["X-Auth-Request-Groups"] == "scientists"


def test_websocket_opens_after_a_login(edge: Edge, trusted: str, scientist: requests.Session) -> None:
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in scientist.cookies)
    url = edge.url.replace("https", "wss") + "/navigator/ws"
    context = ssl.create_default_context(cafile=trusted)
    with connect(url, ssl=context, additional_headers={"Cookie": cookies}, origin=edge.url) as opened:
        opened.send("night")
        assert opened.recv(timeout=10) == "night"


def test_page_that_is_down_is_said_to_be(edge: Edge, operator: requests.Session) -> None:
    answer = operator.get(edge.url + "/hub/", headers=PAGE)
    assert answer.status_code == 502
    assert "does not answer now" in answer.text
    assert "Strict-Transport-Security" in answer.headers


def test_session_ends_when_asked(edge: Edge, trusted: str) -> None:
    session = log_in(edge, trusted, "scientist")
    session.get(edge.url + "/oauth2/sign_out", headers=PAGE, allow_redirects=False)
    assert session.get(edge.url + "/", headers=PAGE, allow_redirects=False).status_code == 302


def test_no_secret_reaches_a_log_or_another_user(edge: Edge, operator: requests.Session) -> None:
    secrets = [cookie.value for cookie in operator.cookies if cookie.name.startswith("_oauth2_proxy")]
    for file in edge.folder.rglob("*-secret"):
        assert file.stat().st_mode & 0o077 == 0, file
        secrets.append(file.read_text())
    assert len(secrets) >= 3
    secrets.append(HUB_TOKEN)
    # The edge says that the page broke off, with the request.
    with pytest.raises(requests.exceptions.RequestException):
        operator.get(edge.url + "/hub/broken", headers=PAGE)
    log = edge.folder / "caddy.log"
    deadline = time.monotonic() + 60
    while "aborting with incomplete response" not in _of(log):
        assert time.monotonic() < deadline, "the edge says nothing of a page that broke off"
        time.sleep(0.1)
    text = "".join(log.read_text(errors="replace") for log in edge.folder.glob("*.log"))
    assert "/navigator/" in text
    for secret in secrets:
        assert secret is not None
        assert secret not in text
    assert not re.search(r"[?&]code=(?!\.\.\.)[\w-]{8}", _of(edge.folder / "caddy.log"))


def test_certificate_is_renewed(edge: Edge, trusted: str) -> None:
    first = certificate(edge, trusted)["serialNumber"]
    deadline = time.monotonic() + 2 * VALIDITY
    while certificate(edge, trusted)["serialNumber"] == first:
        assert time.monotonic() < deadline, "the certificate is the same, and has expired"
        time.sleep(1.0)


def _of(path: Path) -> str:
    return path.read_text(errors="replace")
