"""What the initializer is told by its environment."""

from __future__ import annotations

import os
from typing import Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from prompt_processing.activator.config import Selection, SettingsError


class InitializerSettings(BaseSettings):
    """Those settings of the activator that name and fill output runs."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    rubin_instrument: str
    """Short name of the instrument."""
    central_repo: str
    """URI of the Butler repository that outputs go to."""
    preprocessing_pipelines_config: Selection
    """Which pipelines run before the images arrive."""
    main_pipelines_config: Selection
    """Which pipelines run on the images."""
    config_apdb: str
    """URI of the APDB's configuration."""

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises
        ------
        SettingsError
            Raised with all that is missing or malformed.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = {}
            for item in error.errors(include_input=False, include_url=False):
                message = "not set" if item["type"] == "missing" else item["msg"]
                problems[str(item["loc"][0]).upper()] = message.removeprefix("Value error, ")
            raise SettingsError(problems) from error
        except UnicodeEncodeError as error:
            # Bytes in the environment that are not UTF-8; which variable has them, pydantic does not tell.
            names = [name for name in cls.model_fields if not _is_text(os.environ.get(name.upper(), ""))]
            raise SettingsError(dict.fromkeys(map(str.upper, names), "not UTF-8")) from error


def _is_text(value: str) -> bool:
    return value.isprintable() or not any("\ud800" <= character <= "\udfff" for character in value)
