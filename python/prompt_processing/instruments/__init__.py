"""The cameras: geometry, object keys, headers and raw frames."""
