"""``prompt flow run NAME``: one command for each flow, made from its parameters."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prompt_processing.cli.command import Command, Option
from prompt_processing.cli.options import NUMBERS, log_to_stderr, use_one_blas_thread
from prompt_processing.flows.table import FLOWS

if TYPE_CHECKING:
    from prompt_processing.flows.flow import Flow, Parameter

_WHERE = "Where it runs"
_SHORT = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


class _Texts(click.ParamType[tuple[str, ...]]):
    """Texts separated by commas."""

    name = "texts"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Split the text."""
        return value if isinstance(value, tuple) else tuple(word for word in str(value).split(",") if word)


def __getattr__(name: str) -> click.Command:
    flow_name = name.replace("_", "-")
    if flow_name not in FLOWS:
        raise AttributeError(f"module {__name__!r} has no flow {name!r}")
    return command_of(flow_name)


def command_of(name: str) -> click.Command:
    """Return the command that runs a flow."""
    # For the same values as those of the workers. The flows import NumPy.
    use_one_blas_thread()
    from prompt_processing.flows.flow import load_flow

    flow = load_flow(name)
    required = " ".join(f"--{one.name.replace('_', '-')} ..." for one in flow.parameters if one.required)
    line = f"prompt flow run {name} {required}".rstrip()

    def callback(**options: Any) -> int:
        return _run(flow, options)

    return Command(
        name=name,
        callback=callback,
        help=flow.description,
        short_help=FLOWS[name].summary,
        params=[*(_option(one) for one in flow.parameters), *_common()],
        examples=f"{line} --dry-run\n{line}",
        settings_note=(
            "Also read from the environment: WM_DASK_SCHEDULER and WM_LOCAL (where it runs), "
            "WM_DEST_TYPE and WM_S3_DEST_... (where its record goes), FLOW_WORK, "
            "and PREFECT_API_URL with --prefect."
        ),
        statuses={1: "the flow cannot start, or not all of it succeeded; repeat it to do the rest"},
    )


def _common() -> list[click.Parameter]:
    return [
        Option(["--dask", "flow_dask"], metavar="ADDRESS", help="Dask scheduler.", section=_WHERE),
        Option(
            ["-j", "--processes", "flow_processes"],
            type=click.IntRange(1),
            help="Without a scheduler: processes of this machine.",
            section=_WHERE,
        ),
        Option(
            ["--prefect", "flow_prefect"],
            is_flag=True,
            help="Record the run at the Prefect server of PREFECT_API_URL.",
            section=_WHERE,
        ),
        Option(
            ["--work", "flow_work"],
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder that remembers unfinished runs.",
            section=_WHERE,
        ),
        Option(
            ["--dry-run", "dry_run"],
            is_flag=True,
            help="List what would be done and its cost, and write nothing.",
        ),
    ]


def _option(parameter: Parameter) -> Option:
    """Return the option of a parameter, by its type."""
    kind = parameter.annotation
    # ``X | None``
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        (kind,) = [one for one in typing.get_args(kind) if one is not types.NoneType]
    options: dict[str, Any] = {"help": parameter.help, "required": parameter.required}
    default = None if parameter.required else parameter.default
    if default not in (None, "", ()):
        options |= {"default": default, "show_default": kind is not bool}
    elif not parameter.required:
        options["default"] = default
    name = parameter.name.replace("_", "-")
    if kind is bool:
        flag = f"--{name}/--no-{name}" if parameter.default is True else f"--{name}"
        return Option([flag, parameter.name], section="Parameters", **{**options, "default": bool(default)})
    if typing.get_origin(kind) is typing.Literal:
        options["type"] = click.Choice([str(one) for one in typing.get_args(kind)])
    elif typing.get_origin(kind) is tuple:
        of_numbers = typing.get_args(kind)[0] is int
        options |= {
            "type": NUMBERS if of_numbers else _Texts(),
            "metavar": "N,N..." if of_numbers else "TEXT,...",
        }
        if isinstance(options.get("default"), tuple) and options["default"]:
            options["show_default"] = ",".join(map(str, options["default"]))
    elif kind is Path:
        options |= {"type": click.Path(path_type=Path), "metavar": "PATH"}
    else:
        options |= {"type": kind, "metavar": _SHORT[kind]}
    return Option([f"--{name}", parameter.name], section="Parameters", **options)


def _run(flow: Flow, options: Mapping[str, Any]) -> int:
    from prompt_processing.batch.errors import BatchError
    from prompt_processing.domain.errors import PromptError, RepositoryProblemError
    from prompt_processing.flows.errors import FlowError
    from prompt_processing.flows.record import run_recorded
    from prompt_processing.flows.settings import FlowSettings
    from prompt_processing.imaging.errors import NumericalError
    from prompt_processing.instruments.errors import RawError
    from prompt_processing.settings.environment import SettingsError

    from .terminal import TerminalReporter

    log_to_stderr()
    parameters = {one.name: options[one.name] for one in flow.parameters}
    try:
        settings = FlowSettings.load(**_overrides(options))
        if options["flow_prefect"]:
            from prompt_processing.flows.in_prefect import run_in_prefect

            run_in_prefect(flow, {**parameters, "dry_run": options["dry_run"]}, settings)
            return 0
        with TerminalReporter() as reporter:
            reporter.say(f"{flow.name} {settings.place}{', dry run' if options['dry_run'] else ''}")
            run_recorded(flow, parameters, settings, reporter, dry_run=options["dry_run"])
    except (
        *(BatchError, FlowError, PromptError, RepositoryProblemError, SettingsError),
        *(FileNotFoundError, NumericalError, RawError),
    ) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("Interrupted. Repeat the command to do the rest.", err=True)
        return 130
    return 0


def _overrides(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that options give."""
    names = {
        "flow_dask": "wm_dask_scheduler",
        "flow_processes": "flow_processes",
        "flow_work": "flow_work",
    }
    return {setting: options[name] for name, setting in names.items() if options[name] is not None}
