"""Fixtures of the tests that need real repositories."""

from butler_fixtures import butler_worker, central_folder, open_butler_worker, pristine_central

__all__ = ["butler_worker", "central_folder", "open_butler_worker", "pristine_central"]
