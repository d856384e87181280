"""A Kafka broker in one Python process, for demonstrations and tests: what has not been read is never lost.

It speaks as much of the Kafka protocol as this project's clients need: topics, record batches of version 2 in
any compression, consumer groups of the classic protocol, idempotent producers and transactions. Messages are
kept in files, up to a limit for each partition. A partition that is full of unread messages accepts no more
until a consumer group has caught up; see `prompt_processing.embedded_broker.partitions`.

It listens on the loopback interface only, has no users and no encryption, and starts empty. Checksums of
batches are left to the clients. ``bin/services`` starts the real Apache Kafka.
"""
