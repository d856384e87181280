"""Mask credentials in logs, pages and answers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

MASK = "********"

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE_KEY|API_KEY", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^\s:/@\"]*):([^\s/@\"]+)@")
_SHORTEST = 6
"""Shortest secret recognised by its variable's name; shorter values are probably switches or numbers."""


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """Return the secrets in an environment, including those that only libraries read.

    Parameters
    ----------
    environment : mapping
        Environment variables, such as `os.environ`.

    Returns
    -------
    secrets : `set` [`str`]
        Values of variables that are named like secrets, and passwords in URLs.
    """
    found = set()
    for name, value in environment.items():
        # The value may be the path of a file with the secret; a path is not secret.
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST and not value.startswith(("/", "file:")):
            found.add(value)
        found |= {match[2] for match in _IN_URL.finditer(value)}
    return found


class CredentialMask:
    """Mask credentials in texts and values.

    Parameters
    ----------
    secrets : iterable of `str`, optional
        Texts to mask, in addition to passwords in URLs and secrets in the environment.
    environment : mapping, optional
        Environment variables; by default those of the process.
    """

    def __init__(self, secrets: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> None:
        known = {*secrets, *secrets_in(os.environ if environment is None else environment)}
        # In URLs a secret is percent-encoded, and libraries log it in either form.
        forms = {form for secret in known if secret for form in (secret, unquote(secret))}
        # Longest first, so that a secret that contains another one is masked completely.
        self._secrets = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Mask a text."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _IN_URL.sub(rf"\1:{MASK}@", text)

    def value(self, value: Any) -> Any:
        """Mask all texts in a value for JSON; convert values of other types to text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(str(value))
