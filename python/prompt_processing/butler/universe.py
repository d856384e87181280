"""Whether the dimensions of a repository are those that this software can work with."""

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
"""What pipelines, raws and preloaded data are known by."""


class UniverseError(Exception):
    """The dimension universes do not fit; the message says which, and what to do.

    It does not pass by itself: a process that meets it when it starts ends.
    """


def universe_problems(universe: DimensionUniverse, own: DimensionUniverse) -> tuple[str, str] | None:
    """Tell what makes a repository's universe unusable.

    Parameters
    ----------
    universe : `~lsst.daf.butler.DimensionUniverse`
        Of the repository.
    own : `~lsst.daf.butler.DimensionUniverse`
        The installed middleware's own.

    Returns
    -------
    problem : `tuple` [`str`, `str`] or `None`
        What is wrong and what to do; `None` if nothing is.
    """
    if universe.namespace != own.namespace:
        return (
            f"its namespace is not {own.namespace}",
            "this repository is of another kind of data: name the observatory's own",
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
            f"it is later than {own.version}, the latest that the installed middleware knows",
            "build the containers anew with a middleware of at least the repository's age",
        )
    return None


def check_universes(
    reader: DimensionUniverse, writer: DimensionUniverse, read_from: str, written_to: str
) -> None:
    """Make sure that a worker can carry data from one repository through its own to the other.

    Parameters
    ----------
    reader, writer : `~lsst.daf.butler.DimensionUniverse`
        Of the repositories that inputs come from and outputs go to. The
        worker's own repository takes that of the first.
    read_from, written_to : `str`
        URIs of the repositories.

    Raises
    ------
    UniverseError
        They differ, or this software cannot work with one.
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
            f"CENTRAL_REPO {written_to} has {writer.namespace} {writer.version}: what is read from one could "
            "not be written to the other. What to do: migrate the older one (butler migrate upgrade), then "
            "restart all workers."
        )
