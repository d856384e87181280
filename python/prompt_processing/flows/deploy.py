"""Register flows as deployments of a Prefect server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from prompt_processing.domain.yaml_text import parse_yaml
from prompt_processing.settings.environment import problems_of

from .deaths import HEARTBEAT_FREQUENCY, HEARTBEAT_S, TAG, ensure_watch
from .errors import FlowError
from .flow import load_flow
from .in_prefect import prefect_flow, require_server
from .settings import FlowSettings
from .table import FLOWS

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

__all__ = ["Schedule", "check_job_template", "deploy", "deployment_of", "read_schedules"]

_POOL_TYPES = {"local": "process", "docker": "docker", "kubernetes": "kubernetes"}
_PASSED_ON = ("WM_", "FLOW_", "PREFECT_API_URL")
_CREDENTIALS = ("WM_S3_DEST_KEY", "WM_S3_DEST_SECRET")
"""The server shows what deployments pass on: workers need these in their own environment."""


class Schedule(BaseModel):
    """When a flow runs, and with which parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str = ""
    """Times, as for cron; empty for none."""
    timezone: str = "UTC"
    """Zone of the times."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters by name."""

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        if value and len(value.split()) != 5:
            raise ValueError("five fields, such as '0 8 * * *'")
        return value

    @field_validator("timezone")
    @classmethod
    def _check_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("the name of a zone, such as America/Santiago")
        return value


def read_schedules(path: Path) -> dict[str, Schedule]:
    """Read a YAML file of schedules by flow.

    Raises
    ------
    FlowError
        Raised if the file is not a file of schedules, or names a flow or a parameter that does not exist.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FlowError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, Mapping):
        raise FlowError(f"{path} is not a mapping of flows")
    found = {}
    for name, entry in content.items():
        flow = load_flow(str(name))
        try:
            found[str(name)] = Schedule.model_validate({} if entry is None else entry)
        except ValidationError as error:
            problems = "; ".join(f"{where}: {problem}" for where, problem in problems_of(error).items())
            raise FlowError(f"{path}: {name}: {problems}") from error
        flow.check({name: value for name, value in found[str(name)].parameters.items() if name != "dry_run"})
    return found


def deploy(
    plans: Mapping[str, Schedule | None], pool: str, settings: FlowSettings, *, dry_run: bool = False
) -> Iterator[str]:
    """Register flows at the Prefect server, and yield a line for each.

    Parameters
    ----------
    plans
        Schedules by flow; `None` for a flow that is started by hand.
    pool
        Work pool; created if missing.

    Raises
    ------
    FlowError
        Raised if no server is named or none answers, or if the pool is of another type.
    """
    kind = settings.wm_run_config_type
    if kind != "local" and not settings.wm_data_pipeline_image:
        raise FlowError(f"WM_RUN_CONFIG_TYPE={kind} needs an image: set WM_DATA_PIPELINE_IMAGE")
    if not dry_run:
        require_server()
        _ensure_pool(pool, _POOL_TYPES[kind], _job_variables(settings))
        ensure_watch()
    for name, plan in plans.items():
        when = f"at {plan.cron!r} {plan.timezone}" if plan and plan.cron else "when asked"
        if not dry_run:
            deployment = deployment_of(name, plan or Schedule(), pool, settings)
            deployment.apply(image=settings.wm_data_pipeline_image or None)
        yield f"{name}/{name}: {'would run' if dry_run else 'runs'} in pool {pool}, {when}"


def deployment_of(name: str, plan: Schedule, pool: str, settings: FlowSettings) -> RunnerDeployment:
    """Return the deployment of a flow, not yet registered."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    return RunnerDeployment.from_flow(
        prefect_flow(load_flow(name)),
        name=name,
        description=FLOWS[name].summary,
        schedule=Cron(plan.cron, timezone=plan.timezone) if plan.cron else None,
        parameters=plan.parameters,
        tags=[TAG],
        work_pool_name=pool,
        job_variables=_job_variables(settings),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _job_variables(settings: FlowSettings) -> dict[str, Any]:
    """Return what a run's process, container or job differs in from the pool's template."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key.startswith(_PASSED_ON) and key not in _CREDENTIALS
    }
    variables: dict[str, Any] = {"env": {HEARTBEAT_FREQUENCY: str(HEARTBEAT_S), **environment}}
    if settings.wm_run_config_type == "local":
        variables["working_dir"] = str(Path.cwd())
    elif settings.wm_data_pipeline_image:
        variables["image"] = settings.wm_data_pipeline_image
    return variables


def check_job_template(template: Mapping[str, Any] | None, kind: str, variables: Mapping[str, Any]) -> None:
    """Check that a template of a pool's jobs takes the variables of our deployments.

    Parameters
    ----------
    template
        Base job template; `None` if Prefect has none.
    kind
        Type of the pool.
    variables
        Variables by name.

    Raises
    ------
    FlowError
        Raised with what is wrong.
    """
    from prefect.utilities.schema_tools.validation import validate

    if not template:
        raise FlowError(
            f"the Prefect server knows no job template of type {kind}: install prefect-{kind} where it runs, "
            "or make the pool with  prefect work-pool create"
        )
    schema = dict(template.get("variables", {}))
    known = schema.get("properties", {})
    if absent := sorted(set(variables) - set(known)):
        raise FlowError(f"the job template of the {kind} pool has no variable {', '.join(absent)}")
    if problems := validate(dict(variables), schema):
        raise FlowError(f"the job template of the {kind} pool refuses {problems[0].message}")


def _default_template(kind: str) -> dict[str, Any] | None:
    import asyncio

    from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

    return asyncio.run(get_default_base_job_template_for_infrastructure_type(kind))


def _ensure_pool(name: str, kind: str, variables: Mapping[str, Any]) -> None:
    """Make a work pool, or check that the one of that name is of the right type."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_work_pool(name)
        except ObjectNotFound:
            template = _default_template(kind)
            check_job_template(template, kind, variables)
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template or {}))
            return
    if found.type != kind:
        raise FlowError(
            f"the work pool {name} is of type {found.type}, not {kind}: name another with --pool, "
            "or set WM_RUN_CONFIG_TYPE"
        )
    # A pool that was made elsewhere may have no template before its first worker.
    if found.base_job_template:
        check_job_template(found.base_job_template, kind, variables)
