"""Charts: generated documents and schemas, rendering, and validation of manifests."""
