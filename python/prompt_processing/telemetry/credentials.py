"""Keep credentials out of everything that a process shows."""

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
"""Of a secret that only its variable's name betrays; a shorter value is likelier a switch or a number."""


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """Find the secrets of an environment, those included that only libraries read.

    Parameters
    ----------
    environment : mapping
        Such as `os.environ`.

    Returns
    -------
    secrets : `set` [`str`]
        Values of variables that are named like secrets, and passwords in URLs.
    """
    found = set()
    for name, value in environment.items():
        # The value may also be the path of a file that holds the secret, which is none.
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST and not value.startswith(("/", "file:")):
            found.add(value)
        found |= {match[2] for match in _IN_URL.finditer(value)}
    return found


class CredentialMask:
    """Replaces credentials in whatever is about to be shown.

    Parameters
    ----------
    secrets : iterable of `str`, optional
        What must not be shown, besides passwords in URLs and what the environment holds.
    environment : mapping, optional
        By default the process's.
    """

    def __init__(self, secrets: Iterable[str] = (), environment: Mapping[str, str] | None = None) -> None:
        known = {*secrets, *secrets_in(os.environ if environment is None else environment)}
        # In URLs a secret is percent-encoded, and libraries show it either way.
        forms = {form for secret in known if secret for form in (secret, unquote(secret))}
        # Longest first, so that a secret that holds another one is masked whole.
        self._secrets = sorted(forms, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Mask a text."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _IN_URL.sub(rf"\1:{MASK}@", text)

    def value(self, value: Any) -> Any:
        """Mask all texts within a value that is to be JSON; what JSON does not know becomes text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(str(value))
