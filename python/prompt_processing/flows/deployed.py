"""Flows as Prefect imports them: one attribute a flow, such as ``deployed.build_calibrations``."""

from __future__ import annotations

from typing import Any

from .table import FLOWS

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    flow_name = name.replace("_", "-")
    if flow_name not in FLOWS:
        raise AttributeError(f"module {__name__!r} has no flow {name!r}")
    from .flow import load_flow
    from .in_prefect import prefect_flow

    made = prefect_flow(load_flow(flow_name))
    globals()[name] = made
    return made
