"""Which pipelines a visit gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.domain.visit import NextVisit

CoordinateType = Literal["detector", "boresight"]

SkyMembership = Callable[[float, float], bool | None]
"""Whether a map is true at right ascension and declination (degrees); `None` where it does not know."""


@dataclass(frozen=True)
class DegreeRange:
    """An interval of an angle, ends included.

    Attributes
    ----------
    minimum, maximum : `float`
        Degrees.
    wraps : `bool`
        Whether the angle is a right ascension, for which 350 to 10 goes
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
    """Conditions on a visit and the pipelines for those that meet them all.

    Attributes
    ----------
    pipelines : `tuple` [`str`]
        Paths, best first; empty to run nothing.
    survey : `str` or `None`
        The survey, exactly.
    ra, dec : `DegreeRange` or `None`
        Where the position must lie.
    membership : callable or `None`
        A map that must be true at the position.
    coordinate_type : {"detector", "boresight"}
        Which position.
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
        """Whether the node asks where the visit is."""
        return self.ra is not None or self.dec is not None or self.membership is not None

    def matches(self, survey: str, position: tuple[float, float] | None) -> bool:
        """Tell whether a visit meets the conditions.

        Parameters
        ----------
        survey : `str`
            The visit's survey.
        position : `tuple` [`float`, `float`] or `None`
            Right ascension and declination, degrees.

        Returns
        -------
        matches : `bool`
            `False` for a visit without a position if the node asks for one.
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
        The first that matches decides.
    """

    nodes: tuple[SelectionNode, ...]

    def __iter__(self) -> Iterator[SelectionNode]:
        return iter(self.nodes)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every pipeline that some visit may get, each once."""
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
            Gives right ascension and declination (degrees) of the detector's
            centre, or `None` if the visit does not tell; called only if a
            node asks for it.

        Returns
        -------
        pipelines : `tuple` [`str`]
            Paths, best first; empty to run nothing.

        Raises
        ------
        NonRetriableError
            Raised if no node matches: the configuration has a hole.
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
