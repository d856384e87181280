"""What a worker has exported to a test's central repository."""

from __future__ import annotations

from pathlib import Path

from lsst.daf.butler import Butler, DatasetRef
from lsst.pipe.base.quantum_graph import ProvenanceQuantumGraph


def central(central_folder: Path) -> Butler:
    return Butler.from_config(str(central_folder / "central"))


def exported_refs(central_folder: Path) -> list[DatasetRef]:
    with central(central_folder) as butler:
        refs = butler.query_all_datasets("LSSTCam/prompt/*", find_first=False)
        assert all(butler.stored_many(refs).values())
        return refs


def exported(central_folder: Path) -> set[str]:
    return {ref.datasetType.name for ref in exported_refs(central_folder)}


def provenance(central_folder: Path, stem: str) -> ProvenanceQuantumGraph:
    with central(central_folder) as butler:
        (run,) = butler.collections.query(f"LSSTCam/prompt/*/{stem}/*")
        (ref,) = butler.query_datasets("prompt_provenance", collections=run)
        found: ProvenanceQuantumGraph = butler.get(ref)
        return found
