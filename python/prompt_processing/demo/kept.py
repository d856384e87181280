"""Keep a night's outputs in the demo's folder, where pages and pipelines find them later."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import yaml
from lsst.daf.butler import Butler, CollectionType, DatasetRef, MissingDatasetTypeError  # type: ignore[attr-defined]
from sqlalchemy import make_url

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.opening import open_repository
from prompt_processing.domain import night_folder
from prompt_processing.repository.central import create_repository

from .world import World

__all__ = ["keep_outputs"]


def keep_outputs(world: World) -> int:
    """Copy tonight's datasets into a repository of their own, and the APDB beside it if it is SQLite.

    The repository has its SQLite registry and all files in one folder, which can be moved.

    Returns
    -------
    count
        Number of datasets.
    """
    root = world.folders.output / night_folder.REPOSITORY
    if root.exists():
        shutil.rmtree(root)
    create_repository(str(root))
    collections = Collections(world.environment["RUBIN_INSTRUMENT"])
    chain = world.output_collection()
    with (
        open_repository(world.central_repository) as central,
        Butler.from_config(str(root), writeable=True) as kept,
    ):
        refs = list(_refs(central, chain))
        count = len(refs)
        refs += _refs(central, collections.unbounded_calib, "camera")
        refs += _refs(central, collections.skymaps, "skyMap")
        # Plots compare stars with it.
        refs += _refs(central, collections.refcats)
        kept.transfer_from(
            central, refs, transfer="copy", register_dataset_types=True, transfer_dimensions=True
        )
        runs = {ref.run for ref in refs}
        for one in (chain, collections.refcats):
            kept.collections.register(one, CollectionType.CHAINED)
            kept.collections.redefine_chain(
                one, [run for run in central.collections.query(one, flatten_chains=True) if run in runs]
            )
    _keep_apdb(world)
    return count


def _refs(butler: Butler, collection: str, *names: str) -> list[DatasetRef]:
    if not butler.collections.query(collection):
        return []
    found = []
    for name in names or sorted(
        butler.collections.get_info(collection, include_summary=True).dataset_types or ()
    ):
        try:
            found += butler.query_datasets(name, collection, find_first=False, limit=None, explain=False)
        except MissingDatasetTypeError:
            continue
    return found


def _keep_apdb(world: World) -> None:
    configuration = yaml.safe_load(Path(world.environment["CONFIG_APDB"]).read_text("utf-8"))
    if not configuration.get("db_url"):
        return
    url = make_url(configuration["db_url"])
    if url.get_backend_name() == "sqlite" and url.database:
        # The middleware writes paths as URIs of SQLite.
        path = url.database.removeprefix("file:")
        # A copy of the file alone would lack what is still in SQLite's journal.
        with (
            sqlite3.connect(path) as source,
            sqlite3.connect(world.folders.output / night_folder.APDB) as kept,
        ):
            source.backup(kept)
