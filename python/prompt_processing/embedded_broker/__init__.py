"""A Kafka broker in one Python process, for demonstrations and tests: unread messages are never lost.

It implements the part of the Kafka protocol that this project's clients need: topics, record batches of
version 2 in any compression, consumer groups of the classic protocol, idempotent producers and transactions.
Messages are stored in files, up to a limit for each partition. A partition that is full of unread messages
accepts no more until a consumer group has caught up; see `prompt_processing.embedded_broker.partitions`.

It listens on the loopback interface only, has no authentication or encryption, and starts empty. Clients
verify the checksums of batches. ``bin/services`` starts the real Apache Kafka.
"""
