"""What a central repository and an APDB have of a night."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date

from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.export import datastore_root
from prompt_processing.butler.journal import ExportJournal
from prompt_processing.flows.daily.cost import Cost, earlier_cost

from .gaps import Image

__all__ = ["cost_of_image", "lacking_outputs", "unfinished_exports"]

_RUN = re.compile(r"/prompt/output-(?P<night>\d{4}-\d{2}-\d{2})/(?P<pipeline>[^/]+)/[^/]+$")
_METADATA = "_metadata"


def lacking_outputs(butler: Butler, instrument: str, night: int) -> dict[Image, Collection[str]]:
    """Return the images of a night that have outputs, and what these lack.

    An image is complete if it has the metadata of every task that its pipeline has ever had. Of several runs,
    the one that lacks least counts.

    Parameters
    ----------
    butler
        The central repository.
    night
        Day of observation, ``YYYYMMDD``. Outputs of later days of processing count too.

    Returns
    -------
    lacking
        Types that are absent, by exposure and detector.
    """
    first = date.fromisoformat(str(night))
    usual: defaultdict[str, set[str]] = defaultdict(set)
    chosen: list[tuple[str, str]] = []
    runs = butler.collections.query_info(
        Collections(instrument).output_chain("*"),
        collection_types={CollectionType.RUN},
        include_summary=True,
    )
    for run in runs:
        match = _RUN.search(run.name)
        if match is None:
            continue
        usual[match["pipeline"]].update(
            name for name in run.dataset_types or () if _is_metadata(name) and _of_image(butler, name)
        )
        if date.fromisoformat(match["night"]) >= first:
            chosen.append((run.name, match["pipeline"]))
    found: dict[Image, frozenset[str]] = {}
    for run_name, pipeline in chosen:
        has: defaultdict[Image, set[str]] = defaultdict(set)
        for name in usual[pipeline]:
            for image in _images(butler, name, run_name, instrument, night):
                has[image].add(name)
        for image, names in has.items():
            lacking = frozenset(usual[pipeline] - names)
            if image not in found or len(lacking) < len(found[image]):
                found[image] = lacking
    return dict(found)


def unfinished_exports(butler: Butler, retry_delay: float) -> set[Image]:
    """Return the images with a note about an unfinished export.

    Raises
    ------
    RetriableError
        Raised if the store does not answer.
    """
    found: set[Image] = set()
    for note in ExportJournal(datastore_root(butler), retry_delay).notes():
        try:
            outputs = note.read()
        except (FileNotFoundError, ValueError):
            # Finished meanwhile, or unreadable, which `prompt repo finish-exports` reports.
            continue
        for dataset in outputs.datasets:
            for ref in dataset.refs.values():
                exposure = ref.data_id.get("exposure", ref.data_id.get("visit"))
                if exposure is not None and "detector" in ref.data_id:
                    found.add((int(exposure), int(ref.data_id["detector"])))
    return found


def cost_of_image(butler: Butler, instrument: str) -> Cost:
    """Return the cost of one image in the run with outputs that was made last: the sum over its tasks."""
    runs = butler.collections.query_info(
        Collections(instrument).output_chain("*"),
        collection_types={CollectionType.RUN},
        include_summary=True,
    )
    chosen = [run for run in runs if any(map(_is_metadata, run.dataset_types or ()))]
    if not chosen:
        return Cost(None, None)
    types = max(chosen, key=lambda run: run.name).dataset_types or frozenset()
    costs = [
        earlier_cost(butler, name.removesuffix(_METADATA), ())
        for name in types
        if _is_metadata(name) and _of_image(butler, name)
    ]
    sizes = earlier_cost(butler, "", [name for name in types if _of_image(butler, name)])
    known = [cost.cpu_seconds for cost in costs if cost.cpu_seconds is not None]
    return Cost(sum(known) if known else None, sizes.bytes)


def _is_metadata(name: str) -> bool:
    return name.endswith(_METADATA)


def _of_image(butler: Butler, name: str) -> bool:
    dimensions = butler.get_dataset_type(name).dimensions
    return "detector" in dimensions and ("exposure" in dimensions or "visit" in dimensions)


def _images(butler: Butler, name: str, run: str, instrument: str, night: int) -> Iterable[Image]:
    for ref in butler.query_datasets(
        name,
        collections=run,
        instrument=instrument,
        where="day_obs = the_night",
        bind={"the_night": night},
        explain=False,
        limit=None,
    ):
        values = ref.dataId
        exposure = values["exposure"] if "exposure" in values.dimensions else values["visit"]
        yield int(exposure), int(values["detector"])
