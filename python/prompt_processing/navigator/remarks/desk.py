"""Who may write remarks, and where they go; shared by all browser sessions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from .store import RemarkError, RemarkStore, clean_user

__all__ = ["RemarkDesk"]


class RemarkDesk:
    """The database of remarks, and the header that names a user.

    Parameters
    ----------
    url
        URL of the database, or an SQLite file; empty if there are no remarks.
    user_header
        Header in which the edge gives the user's name; empty if no edge is trusted, so that remarks have no
        name. Never set it where browsers reach the navigator without the edge: they could write any name.
    """

    def __init__(self, url: str = "", user_header: str = "") -> None:
        self._url = url
        self._header = user_header
        self._lock = threading.Lock()
        self._store: RemarkStore | None = None

    @property
    def configured(self) -> bool:
        """Whether there is a database."""
        return bool(self._url)

    def store(self) -> RemarkStore:
        """Return the database, which is opened when it is first needed.

        Raises
        ------
        sqlalchemy.exc.SQLAlchemyError
            Raised if it cannot be reached.
        RemarkError
            Raised if none is configured.
        """
        with self._lock:
            if self._store is None:
                if not self._url:
                    raise RemarkError("no database of remarks is configured")
                self._store = RemarkStore(self._url)
            return self._store

    def user(self) -> str:
        """Return the name of this session's user; empty if no edge is trusted.

        Raises
        ------
        RemarkError
            Raised if the edge gave no name.
        """
        import panel as pn

        return self.user_of(pn.state.headers)

    def user_or_none(self) -> str | None:
        """Return the name of this session's user; `None` if the edge gave none."""
        try:
            return self.user()
        except RemarkError:
            return None

    def user_of(self, headers: Mapping[str, Any]) -> str:
        """Return the name in the headers of a request; see `user`."""
        if not self._header:
            return ""
        for name, value in headers.items():
            if name.lower() == self._header.lower():
                text = value[0] if isinstance(value, list | tuple) and value else value
                user = clean_user(str(text))
                if user:
                    return user
        raise RemarkError(f"the edge gave no user in {self._header}")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None
