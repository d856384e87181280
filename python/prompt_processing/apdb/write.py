"""Write a visit-detector to the APDB exactly once."""

from __future__ import annotations

import logging

import pandas as pd
from astropy.time import Time
from lsst.dax.apdb import Apdb
from pandas.errors import DatabaseError as PandasDatabaseError
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from prompt_processing.domain.errors import NonRetriableError, RetriableError

from .claim import VisitDetectorTakenError, claimed
from .failures import database_failures

_LOG = logging.getLogger("lsst.prompt_processing.associateApdb")


class AlreadyInApdbError(NonRetriableError):
    """The APDB already has rows of this visit and detector.

    Attributes
    ----------
    visit, detector : `int`
        Ids of the rows.
    """

    def __init__(self, visit: int, detector: int) -> None:
        self.visit = visit
        self.detector = detector
        super().__init__(f"Visit {visit}, detector {detector} is already in the APDB.", retry="unsafe")


def require_not_in_apdb(apdb: Apdb, visit: int, detector: int) -> None:
    """Check that a visit-detector was not written before.

    Raises
    ------
    AlreadyInApdbError
        If it was written.
    RetriableError
        If the APDB does not answer.
    """
    try:
        present = apdb.containsVisitDetector(visit, detector)
    except database_failures() as exc:
        raise RetriableError(f"The APDB cannot be queried for visit {visit}, detector {detector}.") from exc
    if present:
        raise AlreadyInApdbError(visit, detector)


def write_visit_detector(
    apdb: Apdb,
    visit: int,
    detector: int,
    processed: Time,
    objects: pd.DataFrame,
    sources: pd.DataFrame,
    forced_sources: pd.DataFrame,
) -> bool:
    """Store the results of a visit-detector in one transaction.

    If several processes write the same visit-detector at once, one succeeds. The others find it written, even
    if they had checked before.

    Parameters
    ----------
    apdb : `~lsst.dax.apdb.Apdb`
        The APDB.
    visit, detector : `int`
        Ids of visit and detector.
    processed : `~astropy.time.Time`
        Begin of the objects' validity.
    objects, sources, forced_sources : `~pandas.DataFrame`
        Rows of the DiaObject, DiaSource and DiaForcedSource tables.

    Returns
    -------
    written : `bool`
        False if all tables are empty.

    Raises
    ------
    AlreadyInApdbError
        If the APDB already has the visit-detector; nothing is written.
    RetriableError
        If the write failed without any effect.
    NonRetriableError
        If the write failed and its effect is unknown.
    """
    require_not_in_apdb(apdb, visit, detector)
    if objects.empty and sources.empty and forced_sources.empty:
        _LOG.info("Visit %d, detector %d has nothing for the APDB.", visit, detector)
        return False
    try:
        with claimed(apdb, visit, detector):
            apdb.store(processed, objects, sources, forced_sources)
    except VisitDetectorTakenError as exc:
        raise AlreadyInApdbError(visit, detector) from exc
    except database_failures(PandasDatabaseError) as exc:
        # The outer messages quote the whole statement with its rows; the driver's message states the cause.
        cause = _driver_error(exc)
        what = f"visit {visit}, detector {detector}"
        present = _is_present(apdb, visit, detector)
        if present and _is_conflict(exc):
            raise AlreadyInApdbError(visit, detector) from cause
        if present:
            raise NonRetriableError(
                f"The APDB failed after it stored {what}: {cause}", retry="unsafe"
            ) from cause
        if _is_refused(exc):
            raise NonRetriableError(f"The APDB refuses the rows of {what}: {cause}") from cause
        raise RetriableError(f"The APDB did not store {what}: {cause}") from cause
    return True


def _sql_error(error: BaseException) -> BaseException:
    """Return SQLAlchemy's exception, which pandas may wrap in its own."""
    return error.__cause__ if isinstance(error, PandasDatabaseError) and error.__cause__ else error


def _driver_error(error: BaseException) -> BaseException:
    sql_error = _sql_error(error)
    driver_error = getattr(sql_error, "orig", None)
    return driver_error if isinstance(driver_error, BaseException) else sql_error


def _is_conflict(error: BaseException) -> bool:
    return isinstance(_sql_error(error), IntegrityError)


def _is_refused(error: BaseException) -> bool:
    """Return whether the database would refuse the same rows again."""
    return isinstance(_sql_error(error), IntegrityError | DataError | ProgrammingError)


def _is_present(apdb: Apdb, visit: int, detector: int) -> bool:
    try:
        return bool(apdb.containsVisitDetector(visit, detector))
    except database_failures() as exc:
        raise NonRetriableError(
            f"The APDB failed while visit {visit}, detector {detector} was being written, and does not "
            "answer whether it stored them.",
            retry="unsafe",
        ) from exc
