"""Settings that a process would start with in this environment, without secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from prompt_processing.domain.selection import PipelineSelection
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.credentials import CredentialMask


@dataclass(frozen=True)
class SettingInForce:
    """One setting.

    Attributes
    ----------
    name
        Name of the environment variable.
    value
        Value in force; for a secret only whether it is set.
    source
        ``environment`` or ``default``.
    """

    name: str
    value: str
    source: str


def settings_in_force(environment: Mapping[str, str] | None = None) -> tuple[list[SettingInForce], list[str]]:
    """Return the worker's settings.

    Parameters
    ----------
    environment
        Environment that decides the settings' source; by default the process's.

    Returns
    -------
    settings
        Settings in the order of their class; empty if they are unusable.
    problems
        Errors in the settings.
    """
    given = {name.upper() for name, value in (environment or os.environ).items() if value}
    try:
        settings = Settings.load()
    except SettingsError as error:
        return [], [f"{name}: {problem}" for name, problem in error.problems.items()]
    mask = CredentialMask(settings.secrets)
    return [
        SettingInForce(
            name.upper(),
            _shown(getattr(settings, name), mask),
            "environment" if name.upper() in given else "default",
        )
        for name in type(settings).model_fields
    ], []


def _shown(value: object, mask: CredentialMask) -> str:
    match value:
        case SecretStr():
            return "(set, not shown)"
        case None:
            return "(not set)"
        case PipelineSelection():
            return mask.text(", ".join(value.paths) or "nothing is run")
        case bool():
            return str(value).lower()
        case tuple():
            return mask.text(" ".join(str(item) for item in value))
        case dict():
            return mask.text(" ".join(f"{key}={item}" for key, item in value.items()) or "(none)")
    return mask.text(str(value))
