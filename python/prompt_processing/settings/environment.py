"""Read the settings of a process from its environment, and report all that is wrong at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import ModelWrapValidatorHandler, SecretStr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["EnvironmentSettings", "SettingsError", "problems_of"]


class SettingsError(Exception):
    """Settings are missing or malformed; the message shows none of their values.

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

        Raises
        ------
        SettingsError
            Raised with all that is missing or malformed.
        """
        # Python keeps bytes that are not UTF-8 as halves of characters, which nothing can process later.
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
        """Credentials that no log may show."""
        # A user's name is none, and may be a word that logs are full of.
        names = (name for name in type(self).model_fields if not name.endswith("_username"))
        own = (getattr(self, name) for name in names)
        return (*(secret.get_secret_value() for secret in own if isinstance(secret, SecretStr)),)

    @classmethod
    def problems_between(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Find settings that do not fit together.

        Parameters
        ----------
        values : mapping
            What is set, not validated, by the field's name.

        Yields
        ------
        name, problem : `str`
            The field that is to be changed, and what is wrong with it.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _check_together(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Around the fields' own validation, so that all problems are reported in one go.
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
    """Return what is wrong with what, without any value: one of them may be a password.

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


def _detail(kind: str, loc: tuple[int | str, ...], message: str) -> InitErrorDetails:
    # A missing setting keeps its type: `problems_of` has its own words for it.
    return InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": message}), loc=loc, input=None)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)
