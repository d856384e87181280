"""Read the settings of a process from its environment, and report all errors at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["EnvironmentSettings", "SettingsError", "problems_of"]


class SettingsError(Exception):
    """Settings are missing or malformed; the message contains no values.

    Parameters
    ----------
    problems : `dict` [`str`, `str`]
        Error of each environment variable, by name.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("\n".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = problems


class EnvironmentSettings(BaseSettings):
    """Settings of a process; each is the environment variable of the same name in capitals.

    Create them with `load`. An empty variable counts as not set.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
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

        Raises
        ------
        SettingsError
            Raised with all settings that are missing or malformed.
        """
        # Python decodes bytes that are not UTF-8 to lone surrogates, which cannot be encoded later.
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

    @property
    def secrets(self) -> tuple[str, ...]:
        """Credentials to mask in logs."""
        # User names are not secret, and may be common words in logs.
        names = (name for name in type(self).model_fields if not name.endswith("_username"))
        own = (getattr(self, name) for name in names)
        return (*(secret.get_secret_value() for secret in own if isinstance(secret, SecretStr)),)

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find inconsistent settings.

        Parameters
        ----------
        values : mapping
            Unvalidated settings by field name.

        Yields
        ------
        name, problem : `str`
            Field to change, and its error.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _check_together(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Wraps the validation of the fields, so that all problems are reported at once.
        between = dict(cls.problems_between(data if isinstance(data, Mapping) else {}))
        details = [_detail("inconsistent", (name,), message) for name, message in between.items()]
        try:
            settings = handler(data)
        except ValidationError as error:
            details += [_detail(item["type"], item["loc"], item["msg"]) for item in error.errors()]
            raise ValidationError.from_exception_data(cls.__name__, details, hide_input=True) from None
        if details:
            raise ValidationError.from_exception_data(cls.__name__, details, hide_input=True)
        return settings


def problems_of(error: ValidationError) -> dict[str, str]:
    """Return the errors by field, without values, because a value may be a password.

    Parameters
    ----------
    error : `pydantic.ValidationError`
        Validation error of pydantic.

    Returns
    -------
    problems : `dict` [`str`, `str`]
        Errors by path of the field, such as ``detectors.HSC``; the path of the whole is empty.
    """
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        where = ".".join(str(part) for part in item["loc"])
        message = "not set" if item["type"] == "missing" else item["msg"]
        problems.setdefault(where, []).append(message.removeprefix("Value error, "))
    return {where: "; ".join(messages) for where, messages in problems.items()}


def _detail(kind: str, loc: tuple[int | str, ...], message: str) -> InitErrorDetails:
    # The type of a missing setting is kept, because `problems_of` has its own text for it.
    return InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": message}), loc=loc, input=None)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
