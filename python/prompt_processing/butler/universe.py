"""Check that this software can use the dimensions of a repository."""

from __future__ import annotations

from lsst.daf.butler import DimensionUniverse

__all__ = ["UniverseError", "check_universes", "universe_problems"]

_ELEMENTS = (
    "instrument",
    "detector",
    "physical_filter",
    "group",
    "day_obs",
    "exposure",
    "visit",
    "visit_system",
    "visit_definition",
    "visit_system_membership",
    "visit_detector_region",
    "skymap",
    "tract",
    "patch",
    "htm7",
)
"""Dimension elements of pipelines, raws and preloaded data."""


class UniverseError(Exception):
    """The dimension universes do not match; the message says which, and what to do.

    The error is permanent: a process that finds it at the start exits.
    """


def universe_problems(universe: DimensionUniverse, own: DimensionUniverse) -> tuple[str, str] | None:
    """Return why a repository's universe is unusable, if it is.

    Parameters
    ----------
    universe : `~lsst.daf.butler.DimensionUniverse`
        Universe of the repository.
    own : `~lsst.daf.butler.DimensionUniverse`
        Universe of the installed middleware.

    Returns
    -------
    problem : `tuple` [`str`, `str`] or `None`
        What is wrong and what to do; `None` if the universe is usable.
    """
    if universe.namespace != own.namespace:
        return (
            f"its namespace is not {own.namespace}",
            "this repository holds another kind of data: name a repository of the observatory",
        )
    missing = [
        name
        for name in _ELEMENTS
        if name not in universe.elements.names and name not in universe.skypix_dimensions.names
    ]
    if missing:
        return (
            f"it has no {', '.join(missing)}",
            f"migrate it to universe {own.version} (butler migrate upgrade), then restart all workers",
        )
    if universe.version > own.version:
        return (
            f"it is newer than {own.version}, the newest that the installed middleware supports",
            "rebuild the containers with middleware at least as new as the repository",
        )
    return None


def check_universes(
    reader: DimensionUniverse, writer: DimensionUniverse, read_from: str, written_to: str
) -> None:
    """Check that a worker can carry data from one repository through its own to the other.

    Parameters
    ----------
    reader, writer : `~lsst.daf.butler.DimensionUniverse`
        Universes of the repositories for inputs and outputs. The worker's
        local repository uses the first.
    read_from, written_to : `str`
        URIs of the repositories.

    Raises
    ------
    UniverseError
        Raised if they differ, or if this software does not support one of them.
    """
    own = DimensionUniverse()
    for universe, uri in ((reader, read_from), (writer, written_to)):
        if (problem := universe_problems(universe, own)) is not None:
            raise UniverseError(
                f"The central repository {uri} has the dimension universe {universe.namespace} "
                f"{universe.version}: {problem[0]}. What to do: {problem[1]}."
            )
    if (reader.namespace, reader.version) != (writer.namespace, writer.version):
        raise UniverseError(
            f"READ_CENTRAL_REPO {read_from} has the dimension universe {reader.namespace} {reader.version}, "
            f"CENTRAL_REPO {written_to} has {writer.namespace} {writer.version}: data from one "
            "cannot be written to the other. What to do: migrate the older one (butler migrate upgrade), "
            "then restart all workers."
        )
