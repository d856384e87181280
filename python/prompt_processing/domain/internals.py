"""Access to private parts of other packages, with a clear error if one is missing."""

from __future__ import annotations

from importlib import metadata
from typing import Any

__all__ = ["MissingInternalError", "internal"]


class MissingInternalError(RuntimeError):
    """Another version of a package lacks a part that this software uses."""


def internal(owner: object, name: str, distribution: str) -> Any:
    """Return a private attribute of another package's object.

    Parameters
    ----------
    owner : object
        The other package's object or class.
    name : `str`
        Name of the attribute.
    distribution : `str`
        Distribution that the object comes from.

    Raises
    ------
    MissingInternalError
        Raised if the attribute does not exist. The message names the installed version.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        kind = owner if isinstance(owner, type) else type(owner)
        raise MissingInternalError(
            f"{kind.__name__}.{name} is not in {distribution} {metadata.version(distribution)}: "
            "install the version in requirements.lock, or a release of this software for the newer one."
        ) from error
