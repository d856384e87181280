"""Run the broker as a process until its standard input is closed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from .server import EmbeddedBroker

_MIB = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a broker, print ``ready <host:port>``, and serve until the input ends or a signal arrives."""
    parser = argparse.ArgumentParser(
        prog="python -m prompt_processing.embedded_broker",
        description="A Kafka broker for demonstrations and tests, on the loopback interface.",
    )
    parser.add_argument("topics", nargs="*", help="topics to create at the start")
    parser.add_argument("--folder", type=Path, help="folder for messages (default: a temporary one)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--partitions", type=int, default=1, help="partitions of a topic (default: 1)")
    parser.add_argument(
        "--partition-mib",
        type=int,
        default=1024,
        help="MiB that each partition keeps; further messages are refused until older ones are read "
        "(default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prompt-broker-", dir=options.folder) as folder:
        asyncio.run(_serve(Path(folder), options))
    return 0


async def _serve(folder: Path, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def await_end_of_input() -> None:
        # Bypass Python's buffer, whose lock would still be held at interpreter exit.
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    async with EmbeddedBroker(folder, options.partition_mib * _MIB, options.partitions) as broker:
        for topic in options.topics:
            broker.create_topic(topic)
        sys.stdout.write(f"ready {await broker.start(options.port)}\n")
        sys.stdout.flush()
        threading.Thread(target=await_end_of_input, daemon=True).start()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
