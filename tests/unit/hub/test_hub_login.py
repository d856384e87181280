"""A person is who Gafaelfawr says, whatever else a request claims."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError, RequestHandler

from prompt_processing.hub.login import DELEGATED_HEADER, USER_HEADER, GafaelfawrAuthenticator

ASKED: list[str] = []


class UserInfo(RequestHandler):
    """Gafaelfawr, as far as the hub asks it."""

    def get(self) -> None:
        token = self.request.headers["Authorization"].removeprefix("Bearer ")
        ASKED.append(token)
        if token == "elsewhere":
            self.redirect("/other")
        elif token == "broken":
            self.set_status(500)
        elif token != "of-scientist":
            self.set_status(401)
        else:
            self.finish(json.dumps({"username": "scientist"}))


class Elsewhere(UserInfo):
    """Another address, which is not to receive tokens."""


@contextmanager
def gafaelfawr() -> Iterator[str]:
    socket, port = bind_unused_port()
    server = HTTPServer(Application([("/auth/api/v1/user-info", UserInfo), ("/other", Elsewhere)]))
    server.add_socket(socket)
    try:
        yield f"http://127.0.0.1:{port}/auth/api/v1/user-info"
    finally:
        server.stop()


def asked_with(headers: dict[str, str], address: str | None = None) -> str | None:
    async def ask() -> str | None:
        with gafaelfawr() as running:
            authenticator = GafaelfawrAuthenticator(user_info_url=address or running)
            return await authenticator.authenticate(
                SimpleNamespace(request=SimpleNamespace(headers=headers)), None
            )

    ASKED.clear()
    return asyncio.run(ask())


def test_person_is_whose_token_gafaelfawr_confirms() -> None:
    headers = {USER_HEADER: "somebody", DELEGATED_HEADER: "of-scientist"}
    assert asked_with(headers) == "scientist"


@pytest.mark.parametrize("headers", [{}, {DELEGATED_HEADER: ""}, {DELEGATED_HEADER: "spurious"}])
def test_name_without_a_token_of_gafaelfawr_is_refused(headers: dict[str, str]) -> None:
    assert asked_with({USER_HEADER: "scientist", **headers}) is None


@pytest.mark.parametrize("token", ["broken", "elsewhere"])
def test_failure_of_gafaelfawr_is_no_refusal_of_the_person(token: str) -> None:
    with pytest.raises(HTTPError, match="503"):
        asked_with({DELEGATED_HEADER: token})
    # The token went to nobody else.
    assert list(ASKED) == [token]


def test_gafaelfawr_that_is_down_is_no_refusal_of_the_person() -> None:
    socket, port = bind_unused_port()
    socket.close()
    with pytest.raises(HTTPError, match="503"):
        asked_with({DELEGATED_HEADER: "of-scientist"}, f"http://127.0.0.1:{port}/")
