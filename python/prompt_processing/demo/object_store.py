"""An S3 store in a separate process: moto's server; it runs until its standard input closes."""

import logging
import sys

from moto.server import ThreadedMotoServer

__all__ = ["main"]


def main() -> None:
    """Start the store, print ``ready <URL>``, and serve until the input ends."""
    # A line for each request would be tens of thousands of lines a night.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print("ready", f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
