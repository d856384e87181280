"""Check the addresses of buckets among the settings."""

from __future__ import annotations

__all__ = ["has_known_profile"]


def has_known_profile(address: str) -> str:
    """Return the address of a bucket, if credentials for its profile are configured.

    Raises
    ------
    ValueError
        Raised if they are not.
    """
    if "@" in address:
        # Imported late: few settings have a profile, and boto3 is slow to load.
        from prompt_processing.transport.s3 import require_profile

        return require_profile(address)
    return address
