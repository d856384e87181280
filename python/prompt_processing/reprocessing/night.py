"""Process visits again, into runs and an APDB of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lsst.daf.butler import Butler, MissingCollectionError

from prompt_processing.apdb.administration import create, same_database
from prompt_processing.butler.collections import Collections

from .errors import ReprocessingError
from .pipeline import default_pipelines, write_pipeline
from .regions import put_missing_regions
from .visits import NightVisit, find_visits, waves

__all__ = ["Execute", "Part", "PartResult", "Plan", "ReprocessingRequest", "execute_plan", "plan"]


@dataclass(frozen=True, slots=True)
class ReprocessingRequest:
    """What to process again.

    Attributes
    ----------
    repo
        Butler repository.
    instrument
        Camera.
    first
        Collection of the first processing, whose regions are inputs; empty if there was none.
    output
        New chain, whose members are the runs of this processing.
    day_obs
        Night, ``YYYYMMDD``.
    visits
        Ids; by default all visits of the night.
    detectors
        Ids; by default all.
    pipelines
        Pipelines, the preprocessing first; by default those of the package.
    config
        Overrides, each ``task:field=value``.
    inputs
        Further input collections, searched first.
    """

    repo: str
    instrument: str
    first: str
    output: str
    day_obs: int | None = None
    visits: tuple[int, ...] = ()
    detectors: tuple[int, ...] = ()
    pipelines: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A group of visits that is processed at once.

    Attributes
    ----------
    pipeline
        Pipeline file.
    inputs
        Input collections.
    run
        Output run.
    where
        Query that selects the visits and detectors.
    config
        Overrides.
    """

    pipeline: str
    inputs: tuple[str, ...]
    run: str
    where: str
    config: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartResult:
    """What became of a part.

    Attributes
    ----------
    successful
        Number of successful quanta.
    failures
        One line for each other quantum, with the reason.
    """

    successful: int
    failures: tuple[str, ...] = ()


Execute = Callable[[Part], PartResult]
"""Executes a part, or what is left of it, and enters its outputs in the repository."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The order of a processing.

    Attributes
    ----------
    request
        What is processed.
    waves
        Groups of visits, to be processed one after the other.
    parts
        The same as pieces of work.
    apdb
        Configuration of the new APDB.
    """

    request: ReprocessingRequest
    waves: list[list[NightVisit]]
    parts: list[Part] = field(default_factory=list)
    apdb: str = ""

    @property
    def visits(self) -> list[int]:
        """Ids of all visits."""
        return [one.visit for wave in self.waves for one in wave]


def plan(butler: Butler, request: ReprocessingRequest, work: Path) -> Plan:
    """Plan a processing; nothing is written.

    Parameters
    ----------
    butler
        The repository.
    request
        What to process.
    work
        Folder that keeps pipeline, APDB and results.

    Raises
    ------
    ReprocessingError
        Raised if the request cannot be carried out.
    """
    if request.first and f"{request.output}/".startswith(f"{request.first}/"):
        raise ReprocessingError(
            "The outputs must not mix with those of the first processing: name another --output."
        )
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", request.output):
        raise ReprocessingError(f"{request.output!r} is not the name of a collection.")
    try:
        first = butler.collections.query(request.first) if request.first else []
    except MissingCollectionError as error:
        raise ReprocessingError(
            f"The repository has no collection {request.first}, which the first processing would have "
            "written. What to do: name it with --first."
        ) from error
    visits = find_visits(butler, request.instrument, request.day_obs, request.visits)
    groups = waves(visits)
    standard = Collections(request.instrument)
    inputs = (*request.inputs, standard.raw, standard.defaults, *first, f"{request.output}/regions")
    there = [one for one in inputs if _exists(butler, one)]
    parts = [
        Part(
            str(work / "pipeline.yaml"),
            (*there, f"{request.output}/regions")
            if f"{request.output}/regions" not in there
            else tuple(there),
            f"{request.output}/{number:04d}",
            _where(request, [one.visit for one in group]),
            request.config,
        )
        for number, group in enumerate(groups)
    ]
    return Plan(request, groups, parts, str(work / "apdb.yaml"))


def execute_plan(
    butler: Butler,
    todo: Plan,
    execute: Execute,
    *,
    database: str = "",
    namespace: str | None = None,
    first_apdb: str = "",
    on_part: Callable[[int, PartResult], None] = lambda number, result: None,
) -> list[PartResult]:
    """Process the parts of a plan one after the other.

    A repeated call continues: parts that are complete have nothing left to execute.

    Parameters
    ----------
    butler
        The repository; writeable.
    todo
        The plan.
    execute
        Executes a part.
    database, namespace
        Where to create the APDB; by default an SQLite file beside its configuration.
    first_apdb
        Configuration of the first processing's APDB, which the new one must not be.
    on_part
        Called with the number of each part and its result.

    Raises
    ------
    ReprocessingError
        Raised if the APDB is that of the first processing, or the pipeline is unusable.
    """
    request, apdb = todo.request, Path(todo.apdb)
    chosen = request.pipelines or default_pipelines(request.instrument)
    write_pipeline(apdb.with_name("pipeline.yaml"), chosen, todo.apdb)
    if not apdb.exists():
        create(database or f"sqlite:///{apdb.with_suffix('.db')}", str(apdb), namespace=namespace)
    if first_apdb and same_database(first_apdb, str(apdb)):
        raise ReprocessingError(
            f"{apdb} names the APDB of the first processing: name another --database or --namespace."
        )
    run = f"{request.output}/regions"
    butler.collections.register(run)
    put_missing_regions(
        butler,
        request.instrument,
        todo.visits,
        request.detectors,
        todo.parts[0].inputs if todo.parts else (),
        run,
    )
    results = []
    for number, part in enumerate(todo.parts):
        results.append(execute(part))
        on_part(number, results[-1])
    return results


def _where(request: ReprocessingRequest, visits: Sequence[int]) -> str:
    terms = [f"instrument = '{request.instrument}'", f"visit IN ({', '.join(map(str, sorted(visits)))})"]
    if request.detectors:
        terms.append(f"detector IN ({', '.join(map(str, sorted(request.detectors)))})")
    return " AND ".join(terms)


def _exists(butler: Butler, name: str) -> bool:
    try:
        return bool(butler.collections.query(name))
    except MissingCollectionError:
        return False
