"""Import raws from disk or a bucket into a repository, with their exposures and visits."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lsst.daf.butler import Butler, DatasetRef, DimensionRecord, FileDataset
from lsst.resources import ResourcePath

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.formatters_raw import RAW_ENDINGS
from prompt_processing.butler.ingest import Ingester, check_complete
from prompt_processing.butler.recorded_formatters import raw_formatter
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import load_camera
from prompt_processing.instruments.header_files import read_detector_headers
from prompt_processing.instruments.headers import Observation, translate

_LOG = logging.getLogger(__name__)

_SAME_BEGIN_SECONDS = 1e-3


@dataclass(slots=True)
class _Central:
    """Central repository that receives raws."""

    folder: Path
    butler: Butler
    collections: Collections

    def insert(self, element: str, records: Iterable[DimensionRecord], *, replace: bool = False) -> None:
        self.butler.registry.insertDimensionData(element, *records, skip_existing=True)


def import_raws(
    butler: Butler,
    files: Iterable[ResourcePath],
    run: str | None = None,
    padding_arcsec: float = 30.0,
    kind: str | None = None,
) -> int:
    """Import raws, and define a visit for each exposure.

    Parameters
    ----------
    butler
        Writeable; must know the instrument.
    files
        Raws, which are copied.
    run
        Run for the raws, ``<INSTRUMENT>/raw/all`` by default.
    padding_arcsec
        Padding of the detectors' regions, arcsec.
    kind
        Type of the observations, such as ``dark``, in place of what their headers say.

    Returns
    -------
    number
        Number of raws that are new to the repository.

    Raises
    ------
    RepositoryProblemError
        Raised if the repository does not know the instrument of a raw.
    RawError
        Raised if a file is not a raw, or is incomplete.
    """
    ingesters: dict[str, Ingester] = {}
    number = 0
    for file in files:
        with file.as_local() as local:
            path = Path(local.ospath)
            check_complete(path)
            observations = [translate(header, str(file)) for header in read_detector_headers(path).values()]
            if kind is not None:
                observations = [replace(one, observation_type=kind) for one in observations]
            elif observations[0].observation_type == "unknown":
                _LOG.warning(
                    "The header of %s does not say what kind of frame it is: import it with --type, or see "
                    "header.observation_type in instrument.yaml.",
                    file,
                )
            instrument = observations[0].instrument
            if instrument not in ingesters:
                ingesters[instrument] = _ingester(butler, instrument, padding_arcsec)
            target = run or Collections(instrument).raw
            butler.collections.register(target)
            with butler.transaction():
                new = [
                    ref
                    for observation in observations
                    if (ref := _new_raw(butler, ingesters[instrument], observation, target)) is not None
                ]
                if new:
                    # A file with several detectors is one file of several datasets.
                    dataset = FileDataset(path=str(path), refs=new, formatter=raw_formatter(instrument))
                    butler.ingest(dataset, transfer="copy")
            number += len(new)
    return number


def _new_raw(butler: Butler, ingester: Ingester, observation: Observation, run: str) -> DatasetRef | None:
    """Insert the records of a raw and return its reference; `None` if the run has it."""
    # Another detector of the visit may have been imported before; existing records are kept.
    for element, rows in ingester.dimension_records(_as_visit(observation), observation).items():
        butler.registry.insertDimensionData(element, *rows, skip_existing=True)
    data_id = {
        "instrument": observation.instrument,
        "exposure": observation.exposure_id,
        "detector": observation.detector,
    }
    if butler.find_dataset("raw", data_id, collections=run) is not None:
        _warn_of_another(butler, observation)
        return None
    kind = butler.get_dataset_type("raw")
    full = butler.registry.expandDataId(data_id, dimensions=kind.dimensions)
    return DatasetRef(kind, full, run=run)


def _warn_of_another(butler: Butler, observation: Observation) -> None:
    """Warn if the exposure that the repository has began at another time."""
    (known,) = butler.query_dimension_records(
        "exposure", instrument=observation.instrument, exposure=observation.exposure_id
    )
    if known.timespan is None or known.timespan.begin is None:
        return
    apart = abs(float((known.timespan.begin - observation.begin).sec))
    if apart > _SAME_BEGIN_SECONDS:
        _LOG.warning(
            "The raw that began at %s is left out: its exposure id %d is that of another, %.3f s apart. "
            "Exposures without a number in the header must begin in different seconds; header.exposure_id of "
            "the instrument can name a keyword.",
            observation.begin.utc.isot, observation.exposure_id, apart,
        )  # fmt: skip


def find_raws(names: Iterable[str]) -> Iterator[ResourcePath]:
    """Find raws by their names.

    Parameters
    ----------
    names
        Paths or URIs of files, or of folders to search.

    Yields
    ------
    file
        A named file, or a file in a folder with the ending of a raw.

    Raises
    ------
    FileNotFoundError
        Raised if a name is neither a file nor a folder.
    """
    for name in names:
        uri = ResourcePath(name, forceAbsolute=True)
        if not uri.isdir() and uri.exists():
            yield uri
            continue
        # Object stores have no folders: there it is the beginning of names, with or without the last slash.
        root = ResourcePath(name, forceAbsolute=True, forceDirectory=True)
        exists = root.exists()
        for folder, _, found in root.walk():
            exists = True
            yield from (folder.join(one) for one in sorted(found) if one.lower().endswith(RAW_ENDINGS))
        if not exists:
            raise FileNotFoundError(f"{uri} does not exist.")


def _ingester(butler: Butler, instrument: str, padding_arcsec: float) -> Ingester:
    records = butler.query_dimension_records("instrument", instrument=instrument, explain=False)
    if not records:
        raise RepositoryProblemError(
            f"The repository does not know {instrument}; add it with prompt repo make --add."
        )
    filters = butler.query_dimension_records("physical_filter", instrument=instrument, limit=None)
    return Ingester(
        _Central(Path(tempfile.gettempdir()), butler, Collections(instrument)),
        load_camera(instrument),
        records[0],
        {str(record.name) for record in filters},
        padding_arcsec,
    )


def _as_visit(observation: Observation) -> FannedOutVisit:
    """Return the announcement of a raw's visit, as far as records depend on it."""
    return FannedOutVisit.parse(
        {
            "salIndex": 0,
            "scriptSalIndex": 0,
            "groupId": observation.group,
            "coordinateSystem": 1,
            "position": [0.0, 0.0],
            "startTime": observation.begin.unix_tai,
            "rotationSystem": 1,
            "cameraAngle": 0.0,
            "filters": observation.physical_filter,
            "duration": 0.0,
            "nimages": 1,
            "instrument": observation.instrument,
            "survey": "",
            "private_sndStamp": observation.begin.unix_tai,
            "detector": observation.detector,
        }
    )
