"""Run a flow under Prefect, which schedules it, records it, and shows its tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from .deaths import ensure_watch, watched
from .errors import FlowError
from .flow import Flow
from .record import run_recorded
from .run import Table
from .settings import FlowSettings

if TYPE_CHECKING:
    from prefect import Flow as PrefectFlow

__all__ = ["prefect_flow", "require_server", "run_in_prefect"]

_DEPLOYED = "prompt_processing.flows.deployed"
_MOST_ROWS = 1000
"""Most rows of a table that Prefect keeps: more does not fit on a page."""


def require_server() -> None:
    """Check that a Prefect server is named and answers: without one, Prefect would start its own.

    Raises
    ------
    FlowError
        Raised otherwise.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    if not address:
        raise FlowError(
            "no Prefect server is named: set PREFECT_API_URL, such as http://127.0.0.1:4200/api "
            "(infra/prefect/start_server.sh starts one)"
        )
    with get_client(sync_client=True) as client:
        if (error := client.api_healthcheck()) is not None:
            raise FlowError(f"the Prefect server {address} does not answer: {error}")


def prefect_flow(flow: Flow, settings: FlowSettings | None = None) -> PrefectFlow[..., Any]:
    """Return Prefect's form of a flow: its parameters, and ``dry_run``.

    Parameters
    ----------
    settings
        Where the work is done; by default what the environment of the run says.
    """
    from prefect import Flow as PrefectFlow

    given = settings

    def run(dry_run: bool = False, **parameters: Any) -> list[dict[str, Any]]:
        settings = given or FlowSettings.load()
        tables = run_recorded(flow, parameters, settings, _Reporter(flow.name), dry_run=dry_run)
        return [{"title": table.title, "rows": len(table.rows)} for table in tables]

    name = flow.name.replace("-", "_")
    run.__name__ = run.__qualname__ = name
    # Prefect imports the flow again from here, in the process that runs it.
    run.__module__ = _DEPLOYED
    run.__doc__ = flow.description
    keywords = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation
        )
        for one in flow.parameters
    ]
    keywords.append(
        inspect.Parameter("dry_run", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    )
    signature: Any = run
    signature.__signature__ = inspect.Signature(keywords)
    # Its results are in the repository; Prefect keeps only that it ran.
    return PrefectFlow(run, name=flow.name, persist_result=False)


def run_in_prefect(flow: Flow, parameters: Mapping[str, Any], settings: FlowSettings) -> None:
    """Run a flow in this process, and record it at the Prefect server, also its death.

    Raises
    ------
    FlowError
        Raised if no server is named or none answers.
    """
    require_server()
    ensure_watch()
    with watched():
        prefect_flow(flow, settings)(**parameters)


class _Reporter:
    """Report to Prefect's log and as artifacts of the flow's run."""

    def __init__(self, name: str) -> None:
        from prefect import get_run_logger

        self._name = name
        self._say: Callable[[str], None] = get_run_logger().info
        self._progress: dict[str, UUID] = {}
        self._shown: dict[str, int] = {}

    def say(self, text: str) -> None:
        """Log a sentence."""
        self._say(text)

    def table(self, table: Table) -> None:
        """Make an artifact of a table."""
        from prefect.artifacts import create_table_artifact

        rows = [{name: _plain(value) for name, value in row.items()} for row in table.rows[:_MOST_ROWS]]
        left = f" (the first {_MOST_ROWS} of {len(table.rows)} rows)" if len(table.rows) > _MOST_ROWS else ""
        create_table_artifact(rows, key=_key(f"{self._name}-{table.title}"), description=table.title + left)

    def progress(self, what: str, done: int, total: int) -> None:
        """Update the progress bar of the run, at most once a percent."""
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        percent = 100 * done // total if total else 100
        if self._shown.get(what) == percent:
            return
        self._shown[what] = percent
        if what not in self._progress:
            made = create_progress_artifact(float(percent), description=what)
            assert isinstance(made, UUID), "flows are synchronous"
            self._progress[what] = made
        else:
            update_progress_artifact(self._progress[what], float(percent))


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) or not hasattr(value, "item") else value.item()
