"""What goes wrong with repositories and databases, as developers are told it."""

from __future__ import annotations


class RepositoryProblemError(RuntimeError):
    """A repository, an export or a database is not as it has to be; the message says what to do."""
