"""Clients of Kafka, S3 and HTTP, built from settings and handed down."""
