"""A Kafka cluster in a process: librdkafka's own mock brokers, for as long as its standard input is open.

They speak the wire protocol, with consumer groups and transactions, to clients in other processes. What they
lack: they keep everything in memory and only the last few megabytes of each partition, and topics are made by
asking for them instead of by an administrator.
"""

import sys
from collections.abc import Sequence

from confluent_kafka import Producer

__all__ = ["main"]


def main(topics: Sequence[str]) -> None:
    """Start a broker with the given topics, tell ``ready <host:port>``, and serve until the input ends."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock"})
    for topic in topics:
        # Metadata for a topic that does not exist makes it.
        cluster.list_topics(topic, timeout=10)
    brokers = cluster.list_topics(timeout=10).brokers.values()
    print("ready", ",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
