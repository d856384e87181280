"""Leave a record of each run where WM_DEST_TYPE says, for those who have no Prefect server."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .engine import execute
from .errors import FlowError
from .flow import Flow
from .run import Reporter, Table
from .settings import FlowSettings

__all__ = ["run_recorded"]


def run_recorded(
    flow: Flow,
    parameters: Mapping[str, Any],
    settings: FlowSettings,
    reporter: Reporter,
    *,
    dry_run: bool = False,
) -> tuple[Table, ...]:
    """Run a flow where the settings say, and write its record; a dry run leaves none.

    The record, ``<flow>/<time>.json``, has parameters, tables and seconds, and the error if there was
    one.

    Raises
    ------
    FlowError
        Raised if the record cannot be written; an error of the flow comes first.
    """
    begin, started = datetime.now(UTC), time.monotonic()
    tables: list[Table] = []

    def record(error: str = "") -> None:
        if dry_run:
            return
        content = {
            "flow": flow.name,
            "began": begin.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "parameters": dict(parameters),
            "place": str(settings.place),
            "error": error,
            "tables": [{"title": one.title, "rows": list(one.rows)} for one in tables],
        }
        text = json.dumps(content, indent=1, default=str) + "\n"
        _write(settings, f"{flow.name}/{begin:%Y%m%dT%H%M%S.%f}.json", text)

    try:
        execute(
            flow,
            parameters,
            work=settings.flow_work,
            place=settings.place,
            reporter=reporter,
            dry_run=dry_run,
            tables=tables,
        )
    # Ctrl-C included: an interrupted run is recorded too.
    except BaseException as failure:
        try:
            record(f"{type(failure).__name__}: {failure}")
        except (FlowError, OSError) as unwritten:
            # The failure of the flow is the one to report.
            reporter.say(f"No record of the failed run: {unwritten}")
        raise
    record()
    return tuple(tables)


def _write(settings: FlowSettings, name: str, text: str) -> None:
    if settings.wm_dest_type == "file":
        path = settings.wm_dest_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    from botocore.exceptions import BotoCoreError, ClientError

    from prompt_processing.transport.s3 import UnknownProfileError, make_s3_client, split_bucket

    profile, address = split_bucket(settings.wm_s3_dest_bucket)
    bucket, _, prefix = address.partition("/")
    key, secret = settings.wm_s3_dest_key, settings.wm_s3_dest_secret
    try:
        client = make_s3_client(
            settings.wm_s3_dest_url or settings.s3_endpoint_url or None,
            profile=profile,
            credentials=(key.get_secret_value(), secret.get_secret_value()) if key and secret else None,
            region=settings.wm_s3_dest_region or None,
        )
        client.put_object(Bucket=bucket, Key="/".join(filter(None, (prefix, name))), Body=text.encode())
    except (BotoCoreError, ClientError, OSError, UnknownProfileError) as error:
        raise FlowError(
            f"the record cannot be written to {bucket}: {error}; check WM_S3_DEST_URL, _BUCKET, _KEY "
            "and _SECRET"
        ) from error
