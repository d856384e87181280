"""Import an export into a repository, and add its collections to the chains that the workers search."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy.exc
import yaml
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    ButlerUserError,
    CollectionType,
    DatasetRef,
    MissingCollectionError,
    MissingDatasetTypeError,
)
from lsst.daf.butler.registry import ConflictingDefinitionError

from prompt_processing.butler.recorded_formatters import know_formatters
from prompt_processing.butler.recorded_storage_classes import know_storage_classes
from prompt_processing.domain.errors import RepositoryProblemError

from .chains import add_to_chain
from .export_writer import CONTENTS_FILE, EXPORT_FILE

_LOG = logging.getLogger("lsst.repository.import")


@dataclass(slots=True)
class Imported:
    """Result of an import.

    Attributes
    ----------
    datasets
        Number of new datasets by type.
    present
        Number of datasets that the repository already had.
    chains
        Collections that were added to each chain.
    """

    datasets: dict[str, int] = field(default_factory=dict)
    present: int = 0
    chains: dict[str, list[str]] = field(default_factory=dict)


def import_export(butler: Butler, folder: Path, transfer: str = "copy") -> Imported:
    """Import an export, leaving existing content unchanged.

    Parameters
    ----------
    butler
        Writeable.
    folder
        Export, written by `.export_writer.write_export` or ``butler.export``.
    transfer
        How files are transferred: ``copy``, ``move``, ``link``, ``direct``.

    Returns
    -------
    imported
        The new content.

    Raises
    ------
    RepositoryProblemError
        Raised if the folder is not an export, has a later dimension universe than
        the repository, or contradicts its content.
    """
    if not (folder / EXPORT_FILE).is_file():
        raise RepositoryProblemError(f"{folder} is not an export: it has no {EXPORT_FILE}.")
    imported = Imported()
    with _well_formed(folder / CONTENTS_FILE):
        chains = _chains(folder)
    with _well_formed(folder / EXPORT_FILE):
        document = yaml.safe_load((folder / EXPORT_FILE).read_text())
        _check_universe(butler, document, folder)
        # Names that are not installed stay as they are, for the stack that has them.
        know_formatters(_formatters(document["data"]))
        know_storage_classes(_storage_classes(document["data"]))
        document["data"] = _without_present(butler, folder, document["data"], imported)
    try:
        with _well_formed(folder / EXPORT_FILE):
            butler.import_(
                directory=str(folder),
                filename=io.StringIO(yaml.dump(document)),
                format=".yaml",
                transfer=transfer,
            )
    except ConflictingDefinitionError as error:
        raise RepositoryProblemError(
            f"{folder} contradicts the repository's content; nothing was imported: {error}"
        ) from error
    except sqlalchemy.exc.IntegrityError as error:
        raise RepositoryProblemError(
            f"{folder} refers to records that are neither in it nor in the repository; nothing was "
            f"imported: {str(error).partition(chr(10))[0]}"
        ) from error
    for chain, members in chains.items():
        if added := add_to_chain(butler, chain, members):
            imported.chains[chain] = added
    _LOG.info("Read %d datasets from %s.", sum(imported.datasets.values()), folder)
    return imported


@contextmanager
def _well_formed(file: Path) -> Iterator[None]:
    """Report a file that does not have the form of an export."""
    try:
        yield
    except ConflictingDefinitionError:
        raise
    except (
        yaml.YAMLError,
        ButlerUserError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise RepositoryProblemError(
            f"{file} is damaged or not of an export; nothing was imported: {type(error).__name__}: {reason}"
        ) from error


def _check_universe(butler: Butler, document: dict[str, Any], folder: Path) -> None:
    theirs = (document.get("universe_namespace", "daf_butler"), int(document.get("universe_version", 0)))
    ours = (butler.dimensions.namespace, butler.dimensions.version)
    if theirs[0] != ours[0] or theirs[1] > ours[1]:
        raise RepositoryProblemError(
            f"{folder} was exported from dimension universe {theirs[0]} {theirs[1]}, the repository has "
            f"{ours[0]} {ours[1]}: migrate the repository first (butler migrate), then import."
        )


def _formatters(data: Iterable[dict[str, Any]]) -> set[str]:
    records = (record for item in data if item["type"] == "dataset" for record in item["records"])
    return {str(record["formatter"]) for record in records if record.get("formatter")}


def _storage_classes(data: Iterable[dict[str, Any]]) -> set[str]:
    return {str(item["storage_class"]) for item in data if item["type"] == "dataset_type"}


def _without_present(
    butler: Butler, folder: Path, data: Iterable[dict[str, Any]], imported: Imported
) -> list[dict[str, Any]]:
    """Leave out chains, existing datasets and existing certifications."""
    items = list(data)
    known_as: dict[UUID, UUID] = {}
    kept: list[dict[str, Any]] = []
    for item in items:
        if item["type"] == "collection" and item["collection_type"] == CollectionType.CHAINED.name:
            # Importing it would replace the repository's chain.
            continue
        if item["type"] == "dataset":
            item = {**item, "records": _new_records(butler, folder, item, imported, known_as)}
            if not item["records"]:
                continue
        kept.append(item)
    # Associations may precede their datasets.
    for item in kept:
        if item["type"] == "associations" and item["collection_type"] == CollectionType.CALIBRATION.name:
            item["validity_ranges"] = _new_ranges(butler, item, known_as)
    return kept


def _new_records(
    butler: Butler, folder: Path, item: dict[str, Any], imported: Imported, known_as: dict[UUID, UUID]
) -> list[dict[str, Any]]:
    name, run = item["dataset_type"], item["run"]
    there = {ref.id for ref in butler.get_many_datasets(_identities(item["records"]))}
    others = _of_run(butler, name, run)
    new = []
    for record in item["records"]:
        identities = _identities([record])
        if there.issuperset(identities):
            imported.present += len(identities)
            continue
        ref = others.get(_values(record["data_id"][0])) if len(identities) == 1 else None
        if ref is not None:
            # For example the camera: each repository with the instrument has its own copy.
            if butler.getURI(ref).read() != (folder / record["path"]).read_bytes():
                raise RepositoryProblemError(
                    f"{folder} and the repository have different {name} datasets of {record['data_id'][0]} "
                    f"in the run {run}; nothing was imported. Import into an empty repository and add the "
                    "rest of the instrument afterwards, or rename one of the runs."
                )
            known_as[identities[0]] = ref.id
            imported.present += 1
            continue
        new.append(record)
        imported.datasets[name] = imported.datasets.get(name, 0) + len(identities)
    return new


def _identities(records: Iterable[dict[str, Any]]) -> list[UUID]:
    return [UUID(str(identity)) for record in records for identity in record["dataset_id"]]


def _of_run(butler: Butler, name: str, run: str) -> dict[frozenset[tuple[str, Any]], DatasetRef]:
    try:
        refs = butler.query_datasets(name, run, find_first=False, limit=None, explain=False)
    except (MissingCollectionError, MissingDatasetTypeError):
        return {}
    return {_values(dict(ref.dataId.required)): ref for ref in refs}


def _values(data_id: dict[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset(data_id.items())


def _new_ranges(butler: Butler, item: dict[str, Any], known_as: dict[UUID, UUID]) -> list[dict[str, Any]]:
    certified: set[tuple[UUID, Any]] = set()
    try:
        kinds = butler.collections.get_info(item["collection"], include_summary=True).dataset_types or ()
    except MissingCollectionError:
        kinds = ()
    for name in kinds:
        for one in butler.registry.queryDatasetAssociations(
            name, [item["collection"]], collectionTypes={CollectionType.CALIBRATION}
        ):
            certified.add((one.ref.id, one.timespan))
    ranges = []
    for valid in item["validity_ranges"]:
        identities = [known_as.get(UUID(str(one)), UUID(str(one))) for one in valid["dataset_ids"]]
        new = [one for one in identities if (one, valid["timespan"]) not in certified]
        if new:
            ranges.append({**valid, "dataset_ids": new})
    return ranges


def _chains(folder: Path) -> dict[str, list[str]]:
    path = folder / CONTENTS_FILE
    if not path.is_file():
        _LOG.warning("%s has no %s: its collections were not added to any chain.", folder, CONTENTS_FILE)
        return {}
    chains: dict[str, list[str]] = json.loads(path.read_text())["chains"]
    if not all(isinstance(members, list) for members in chains.values()):
        raise TypeError("members of a chain are a list")
    return chains
