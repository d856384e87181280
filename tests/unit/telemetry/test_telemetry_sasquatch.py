"""Metric bundles reach the REST proxy in its own form, and a failure fails nothing."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from prompt_processing.telemetry.sasquatch import Sasquatch


@pytest.fixture
def proxy():
    """A proxy that keeps what it is sent and answers with ``proxy.status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.posts.append((self.path, dict(self.headers), body))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.posts, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_bundle_is_posted_with_its_schema(proxy):
    sasquatch = Sasquatch(f"{proxy.url}/", "lsst.prompt", SecretStr("hush"))
    assert sasquatch.post("promptPreload_metrics", {"total-time": 1.5, "n": 3}, {"instrument": "LSSTCam"})
    ((path, headers, body),) = proxy.posts
    assert path == "/topics/lsst.prompt.promptPreload_metrics"
    assert headers["Content-Type"] == "application/vnd.kafka.avro.v2+json"
    assert headers["Authorization"] == "Bearer hush"
    (record,) = body["records"]
    assert record["value"]["total_time"] == 1.5
    types = {field["name"]: field["type"] for field in json.loads(body["value_schema"])["fields"]}
    assert types["total_time"] == "double"
    assert (types["n"], types["instrument"], types["timestamp"]) == ("long", "string", "long")
    assert set(types) == set(record["value"])


def test_a_proxy_that_refuses_or_is_gone_fails_nothing(proxy, caplog):
    sasquatch = Sasquatch(proxy.url, "lsst.prompt", SecretStr("hush"))
    proxy.status = 500
    assert not sasquatch.post("bundle", {"n": 1}, {})
    gone = Sasquatch("http://127.0.0.1:1", "lsst.prompt", timeout=1.0)
    assert not gone.post("bundle", {"n": 1}, {})
    assert len(caplog.records) == 2
    assert "hush" not in caplog.text
