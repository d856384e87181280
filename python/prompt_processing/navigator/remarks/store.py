"""Database of flags and notes, apart from repository, APDB and night's database."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from prompt_processing.nights.tables import open_engine

__all__ = ["FLAGS", "Flag", "Remark", "RemarkError", "RemarkStore", "SubjectKind", "subject_of"]

Flag = Literal["seen", "odd"]
FLAGS: tuple[Flag, ...] = ("seen", "odd")
SubjectKind = Literal["plot", "detector", "object"]
_KINDS = ("plot", "detector", "object")

_LONGEST_NOTE = 1000
_LONGEST_SUBJECT = 400
_LONGEST_USER = 100
_MOST_REMARKS = 200
"""Remarks that are read of one subject, the newest ones."""
_MOST_SUBJECTS = 500
_MOST_PER_USER_AND_HOUR = 2000
"""Remarks that one user writes in an hour: a page that runs wild fills no disk."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_METADATA = sa.MetaData()
_REMARKS = sa.Table(
    "remark",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(_LONGEST_SUBJECT), nullable=False),
    sa.Column("flag", sa.String(16), nullable=False),
    sa.Column("note", sa.String(_LONGEST_NOTE), nullable=False),
    sa.Column("user", sa.String(_LONGEST_USER), nullable=False),
    sa.Column("written", sa.Float, nullable=False),
    sa.Index("remark_by_subject", "kind", "subject"),
    sa.Index("remark_by_user", "user", "written"),
)


class RemarkError(ValueError):
    """A remark cannot be written; the message says why."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A flag or a note.

    Attributes
    ----------
    flag
        Flag; empty for a note.
    note
        Text; empty for a flag.
    user
        Name that the edge gave; empty where no edge is trusted.
    written
        Unix seconds.
    """

    flag: str
    note: str
    user: str
    written: float


def subject_of(kind: SubjectKind, **parts: object) -> str:
    """Return the text by which remarks on something are found.

    Raises
    ------
    RemarkError
        Raised if it is too long.
    """
    text = " ".join(f"{name}={value}" for name, value in parts.items())
    if len(text) > _LONGEST_SUBJECT:
        raise RemarkError(f"the name of the {kind} is too long for a remark")
    return text


class RemarkStore:
    """Flags and notes in SQLite or PostgreSQL.

    Parameters
    ----------
    url
        URL of the database, or an SQLite file. The table is made if it is missing.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url, writing=True)
        _METADATA.create_all(self._engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def set_flag(self, kind: SubjectKind, subject: str, flag: Flag, on: bool, user: str) -> None:
        """Set or remove a user's flag.

        Raises
        ------
        RemarkError
            Raised if there is no such kind or flag, or the user has written too much.
        """
        if flag not in FLAGS:
            raise RemarkError(f"there is no flag {str(flag)[:30]!r}")
        kind, subject, user = self._checked(kind, subject, user)
        same = sa.and_(
            _REMARKS.c.kind == kind,
            _REMARKS.c.subject == subject,
            _REMARKS.c.flag == flag,
            _REMARKS.c.user == user,
        )
        with self._engine.begin() as connection:
            connection.execute(_REMARKS.delete().where(same))
            if on:
                self._insert(connection, kind=kind, subject=subject, flag=flag, note="", user=user)

    def add_note(self, kind: SubjectKind, subject: str, note: str, user: str) -> None:
        """Add a sentence.

        Raises
        ------
        RemarkError
            Raised if it is empty or too long, or the user has written too much.
        """
        kind, subject, user = self._checked(kind, subject, user)
        text = _CONTROL.sub(" ", note).strip()
        if not text:
            raise RemarkError("the note is empty")
        if len(text) > _LONGEST_NOTE:
            raise RemarkError(f"a note has at most {_LONGEST_NOTE} characters")
        with self._engine.begin() as connection:
            self._insert(connection, kind=kind, subject=subject, flag="", note=text, user=user)

    def remarks(self, kind: SubjectKind, subjects: Iterable[str]) -> dict[str, list[Remark]]:
        """Return the remarks on some subjects, the newest first.

        Parameters
        ----------
        subjects
            At most 500 are looked up.

        Returns
        -------
        remarks
            By subject; those without remarks are left out.
        """
        wanted = list(dict.fromkeys(subjects))[:_MOST_SUBJECTS]
        if not wanted:
            return {}
        query = (
            sa.select(_REMARKS)
            .where(_REMARKS.c.kind == kind, _REMARKS.c.subject.in_(wanted))
            .order_by(_REMARKS.c.id.desc())
            .limit(_MOST_REMARKS * min(len(wanted), 10))
        )
        found: dict[str, list[Remark]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                if len(found[row.subject]) < _MOST_REMARKS:
                    found[row.subject].append(Remark(row.flag, row.note, row.user, row.written))
        return dict(found)

    def _checked(self, kind: str, subject: str, user: str) -> tuple[SubjectKind, str, str]:
        if kind not in _KINDS:
            raise RemarkError(f"there are no remarks on {kind[:30]!r}")
        if not subject or len(subject) > _LONGEST_SUBJECT or _CONTROL.search(subject):
            raise RemarkError("the subject of the remark is unusable")
        return kind, subject, clean_user(user)  # type: ignore[return-value]

    def _insert(self, connection: sa.Connection, **values: str) -> None:
        now = time.time()
        recent = connection.execute(
            sa.select(sa.func.count())
            .select_from(_REMARKS)
            .where(_REMARKS.c.user == values["user"], _REMARKS.c.written > now - 3600)
        ).scalar_one()
        if recent >= _MOST_PER_USER_AND_HOUR:
            raise RemarkError(f"at most {_MOST_PER_USER_AND_HOUR} remarks an hour")
        connection.execute(_REMARKS.insert().values(written=now, **values))


def clean_user(name: str) -> str:
    """Return a user's name without control characters, cut to the length of its column."""
    return _CONTROL.sub("", name).strip()[:_LONGEST_USER]
