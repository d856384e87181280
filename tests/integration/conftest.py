"""Fixtures of the tests that need real repositories."""

from butler_fixtures import butler_worker, central_folder, open_butler_worker, pristine_central
from chart_fixtures import chart_software, chart_tree, exactly, rendered
from embedded_services import embedded
from fan_out_processes import receiver
from real_services import (
    kafka,
    new_name,
    object_store,
    postgresql,
    redis_server,
    schema_registry,
    service_stack,
)
from warm_commands import warm_programs, warm_start

__all__ = [
    "butler_worker",
    "central_folder",
    "chart_software",
    "chart_tree",
    "embedded",
    "exactly",
    "kafka",
    "new_name",
    "object_store",
    "open_butler_worker",
    "postgresql",
    "pristine_central",
    "receiver",
    "redis_server",
    "rendered",
    "schema_registry",
    "service_stack",
    "warm_programs",
    "warm_start",
]
