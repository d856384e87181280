"""Select the pipelines of a visit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.domain.visit import NextVisit

CoordinateType = Literal["detector", "boresight"]

SkyMembership = Callable[[float, float], bool | None]
"""Whether a map is true at right ascension and declination (degrees); `None` if that is unknown."""


@dataclass(frozen=True)
class DegreeRange:
    """An interval of an angle, including both ends.

    Attributes
    ----------
    minimum, maximum : `float`
        Degrees.
    wraps : `bool`
        Whether the angle is a right ascension, for which 350 to 10 passes
        through zero.
    """

    minimum: float
    maximum: float
    wraps: bool = False

    def __contains__(self, degrees: float) -> bool:
        if not self.wraps:
            return self.minimum <= degrees <= self.maximum
        if self.maximum - self.minimum >= 360.0:
            return True
        # Distances from the lower end, so that either may be written outside [0, 360).
        return (degrees - self.minimum) % 360.0 <= (self.maximum - self.minimum) % 360.0


@dataclass(frozen=True)
class SelectionNode:
    """Conditions on a visit, and the pipelines for visits that meet all of them.

    Attributes
    ----------
    pipelines : `tuple` [`str`]
        Paths, best first; empty to run nothing.
    survey : `str` or `None`
        Exact name of the survey.
    ra, dec : `DegreeRange` or `None`
        Ranges that must contain the position.
    membership : callable or `None`
        A map that must be true at the position.
    coordinate_type : {"detector", "boresight"}
        Position to use.
    """

    pipelines: tuple[str, ...]
    survey: str | None = None
    ra: DegreeRange | None = None
    dec: DegreeRange | None = None
    membership: SkyMembership | None = None
    coordinate_type: CoordinateType = "detector"

    def __post_init__(self) -> None:
        stems = [PurePath(path).stem for path in self.pipelines]
        repeated = sorted({stem for stem in stems if stems.count(stem) > 1})
        if repeated:
            # A run is named by its pipeline's stem, so two of them would share one.
            raise ValueError(f"two pipelines of one node are called {', '.join(repeated)}")

    @property
    def needs_position(self) -> bool:
        """Whether the node has conditions on the position."""
        return self.ra is not None or self.dec is not None or self.membership is not None

    def matches(self, survey: str, position: tuple[float, float] | None) -> bool:
        """Return whether a visit meets the conditions.

        Parameters
        ----------
        survey : `str`
            The visit's survey.
        position : `tuple` [`float`, `float`] or `None`
            Right ascension and declination, degrees.

        Returns
        -------
        matches : `bool`
            `False` for a visit without a position if the node needs one.
        """
        if self.survey is not None and self.survey != survey:
            return False
        if not self.needs_position:
            return True
        if position is None:
            return False
        ra, dec = position
        return (
            (self.ra is None or ra in self.ra)
            and (self.dec is None or dec in self.dec)
            and (self.membership is None or self.membership(ra, dec) is True)
        )


@dataclass(frozen=True)
class PipelineSelection:
    """The configured nodes, in order of preference.

    Attributes
    ----------
    nodes : `tuple` [`SelectionNode`]
        Nodes; the first one that matches decides.
    """

    nodes: tuple[SelectionNode, ...]

    def __iter__(self) -> Iterator[SelectionNode]:
        return iter(self.nodes)

    @property
    def paths(self) -> tuple[str, ...]:
        """All pipelines that visits may use, without duplicates."""
        return tuple(dict.fromkeys(path for node in self.nodes for path in node.pipelines))

    def select(
        self, visit: NextVisit, detector_centre: Callable[[], tuple[float, float] | None]
    ) -> tuple[str, ...]:
        """Choose the pipelines of a visit.

        Parameters
        ----------
        visit : `NextVisit`
            The visit.
        detector_centre : callable
            Returns right ascension and declination (degrees) of the detector's
            centre, or `None` if unknown; called only if a node needs it.

        Returns
        -------
        pipelines : `tuple` [`str`]
            Paths, best first; empty to run nothing.

        Raises
        ------
        NonRetriableError
            Raised if no node matches, because the configuration has a gap.
        """
        boresight = None if visit.ra is None or visit.dec is None else (visit.ra, visit.dec)
        centre: tuple[float, float] | None = None
        for node in self.nodes:
            position = boresight
            if node.needs_position and node.coordinate_type == "detector":
                centre = centre or detector_centre()
                position = centre
            if node.matches(visit.survey, position):
                return node.pipelines
        raise NonRetriableError(
            f"No pipelines are configured for survey {visit.survey!r} at position {visit.position}."
        )
