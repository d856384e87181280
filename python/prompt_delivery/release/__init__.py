"""Tags, labels and notes of containers and releases.

This package needs only the standard library, so that it runs on a fresh machine without an installation.
Exceptions are `requirements` and `recorded_versions.installed_schemas`, which inspect installed packages.
"""
