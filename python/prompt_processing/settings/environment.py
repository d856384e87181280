"""How every process reads its settings: from the environment, with all that is wrong told at once."""

from __future__ import annotations

import os
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["EnvironmentSettings", "SettingsError", "problems_of"]


class SettingsError(Exception):
    """Settings are missing or malformed; the message has no value of any.

    Parameters
    ----------
    problems : `dict` [`str`, `str`]
        What is wrong, by the name of the environment variable.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("\n".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = problems


class EnvironmentSettings(BaseSettings):
    """Settings of a process; each is the environment variable of its name in capitals.

    Make them with `load`. An empty variable counts as one that is not set.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment.

        Parameters
        ----------
        **overrides
            Settings that do not come from the environment.

        Returns
        -------
        settings : `EnvironmentSettings`
            Checked settings.

        Raises
        ------
        SettingsError
            Raised with all that is missing or malformed.
        """
        # Python keeps bytes that are not UTF-8 as halves of characters, which nothing can be done with later.
        malformed = [
            name.upper()
            for name, value in os.environ.items()
            if name.lower() in cls.model_fields and not _is_text(value)
        ]
        if malformed:
            raise SettingsError(dict.fromkeys(malformed, "not UTF-8"))
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(
                {name.upper() or "SETTINGS": problem for name, problem in problems_of(error).items()}
            ) from error


def problems_of(error: ValidationError) -> dict[str, str]:
    """Tell what is wrong with what, without any value: one of them may be a password.

    Parameters
    ----------
    error : `pydantic.ValidationError`
        As pydantic raises it.

    Returns
    -------
    problems : `dict` [`str`, `str`]
        By the field's place, such as ``detectors.HSC``; empty for the whole.
    """
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        where = ".".join(str(part) for part in item["loc"])
        message = "not set" if item["type"] == "missing" else item["msg"]
        problems.setdefault(where, []).append(message.removeprefix("Value error, "))
    return {where: "; ".join(messages) for where, messages in problems.items()}


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
