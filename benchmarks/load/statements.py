"""What a database was asked, by whom, and how long it took to answer."""

from __future__ import annotations

from dataclasses import dataclass

from prompt_processing.services.postgresql import PostgreSql

_TOTALS = """
SELECT coalesce(sum(s.calls), 0), coalesce(sum(s.total_exec_time), 0) / 1000
FROM pg_stat_statements s
JOIN pg_database d ON d.oid = s.dbid
JOIN pg_roles r ON r.oid = s.userid
WHERE d.datname = %s AND r.rolname = %s
"""


@dataclass(frozen=True)
class Statements:
    """How many, transactions' begins and ends included, and the server's seconds."""

    calls: int = 0
    seconds: float = 0.0

    def __sub__(self, other: Statements) -> Statements:
        return Statements(self.calls - other.calls, self.seconds - other.seconds)


class StatementCounter:
    """Reads the counts of one database.

    Parameters
    ----------
    postgresql : `PostgreSql`
        The server, with ``pg_stat_statements``.
    database : `str`
        Name; the users' names begin with it.
    """

    def __init__(self, postgresql: PostgreSql, database: str) -> None:
        self._postgresql = postgresql
        self._database = database

    def read(self, user: str) -> Statements:
        """Return what one of the users has asked for so far."""
        # A connection each time: one that idles in a transaction would hide what comes later.
        with self._postgresql.connect() as connection:
            row = connection.execute(_TOTALS, (self._database, f"{self._database}-{user}")).fetchone()
        assert row is not None
        return Statements(int(row[0]), float(row[1]))

    def texts(self, user: str, limit: int = 40) -> list[tuple[int, str]]:
        """Return the statements asked most often, with their number."""
        query = _TOTALS.replace(
            "coalesce(sum(s.calls), 0), coalesce(sum(s.total_exec_time), 0) / 1000", "s.calls, s.query"
        )
        with self._postgresql.connect() as connection:
            rows = connection.execute(
                f"{query} ORDER BY s.calls DESC LIMIT {limit}", (self._database, f"{self._database}-{user}")
            ).fetchall()
        return [(int(calls), str(text)) for calls, text in rows]

    def reset(self) -> None:
        """Begin at nothing."""
        with self._postgresql.connect() as connection:
            connection.execute("SELECT pg_stat_statements_reset()")
