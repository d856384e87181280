"""Pages of a kept demo, as processes for an edge on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from prompt_processing.services.server import Server, ServerCommand
from prompt_processing.services.service import HOST, free_port, listens

__all__ = ["serve_demo"]


@contextmanager
def serve_demo(demo: Path, host: str, port: int, folder: Path) -> Iterator[Mapping[str, str]]:
    """Serve board and navigator of a kept demo while the context lasts.

    Parameters
    ----------
    demo
        Output folder of ``prompt demo --keep``.
    host, port
        Address of the edge, from which browsers connect.
    folder
        Folder for logs.

    Yields
    ------
    places
        ``host:port`` by the name of the page.

    Raises
    ------
    ServerFailedError
        Raised if a page does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    origin = host if port == 443 else f"{host}:{port}"
    ports = {"board": free_port(), "navigator": free_port()}
    options: dict[str, list[str]] = {"board": [], "navigator": ["--prefix", "/navigator", "--origin", origin]}
    with ExitStack() as stack:
        for name, own in ports.items():
            words = [sys.executable, "-m", "prompt_processing", name, str(demo.resolve())]
            command = ServerCommand([*words, "--port", str(own), *options[name]], folder)
            server = Server(name, command, partial(listens, own), folder / f"{name}.log", detached=False)
            stack.callback(server.stop)
            server.start()
            server.wait_ready(120.0)
        yield {name: f"{HOST}:{own}" for name, own in ports.items()}
