"""The commands that export parts of a repository, so that another one can be filled with them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from astropy.time import Time, TimeDelta
from lsst.daf.butler import Butler, DimensionRecord, Timespan

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments.camera import camera_names, load_camera
from prompt_processing.repository.export_selection import (
    Selection,
    add_calibrations,
    add_instrument_records,
    add_preloaded,
    add_raws,
    add_sky,
    add_sky_map,
)
from prompt_processing.repository.export_writer import write_export
from prompt_processing.repository.sky_regions import circle, regions_of

_LOG = logging.getLogger("lsst.repository.export")


def make_export(arguments: Sequence[str] | None = None) -> int:
    """Export an instrument's raws and all that they need but templates; returns the exit status."""
    return _visits("make_export", None, None, arguments)


def make_hsc_rc2_export(arguments: Sequence[str] | None = None) -> int:
    """Export visits of HSC/RC2 and all that they need but templates; returns the exit status."""
    return _visits("make_hsc_rc2_export", "HSC", "HSC/RC2/defaults", arguments)


def make_latiss_export(arguments: Sequence[str] | None = None) -> int:
    """Export visits of LATISS and all that they need but templates; returns the exit status."""
    return _visits("make_latiss_export", "LATISS", "LATISS/raw/all,LATISS/defaults", arguments)


def _visits(
    program: str, instrument: str | None, collection: str | None, arguments: Sequence[str] | None
) -> int:
    parser = _parser(program, "Export raws with their visits, calibrations, reference stars and sky map.")
    if instrument is None:
        parser.add_argument("--instrument", required=True, choices=camera_names())
    parser.add_argument(
        "--collection",
        default=collection,
        help="where all of it is, several separated by commas (default: "
        f"{collection or '<INSTRUMENT>/raw/all,<INSTRUMENT>/defaults'})",
    )
    parser.add_argument("--where", default="", help='which raws, such as "exposure.day_obs = 20240520"')
    parser.add_argument("--detectors", type=_numbers, help="which detectors, such as 41,42,50 (default: all)")
    parser.add_argument("--n-exposures", type=int, help="at most so many exposures, the earliest first")
    parser.add_argument(
        "--no-raws", action="store_true", help="leave the raws away: a central repository gets its own"
    )
    parser.add_argument(
        "--all-inputs",
        action="store_true",
        help="all calibrations and reference stars there are, whatever raws need, and no raws",
    )
    parser.add_argument("--skymap", help="name of the sky map (default: all there are)")
    parser.add_argument(
        "--refcat", action="append", default=[], metavar="TYPE", help="reference catalogues (default: all)"
    )
    options = parser.parse_args(arguments)
    name = instrument or options.instrument
    collections = options.collection or f"{name}/raw/all,{name}/defaults"

    def select(butler: Butler, selection: Selection) -> None:
        add_instrument_records(selection, butler, name)
        raws = Selection()
        exposures: list[DimensionRecord] = []
        for one in () if options.all_inputs else collections.split(","):
            if not exposures:
                exposures = add_raws(
                    raws, butler, name, one, options.where, options.detectors, options.n_exposures
                )
        regions = filters = None
        if not options.all_inputs:
            regions = regions_of(exposures, load_camera(name), options.detectors)
            filters = {str(record.physical_filter) for record in exposures}
        for one in collections.split(","):
            add_calibrations(
                selection,
                butler,
                name,
                one,
                detectors=options.detectors,
                filters=filters,
                timespan=_span(exposures),
            )
            add_sky(
                selection,
                butler,
                one,
                regions,
                chain=Collections(name).refcats,
                dataset_types=options.refcat,
                shards=True,
            )
            add_sky_map(selection, butler, one, options.skymap)
        if not options.no_raws:
            selection.refs |= raws.refs
            selection.records |= raws.records

    return _run(options, select)


def make_template_export(arguments: Sequence[str] | None = None) -> int:
    """Export templates; returns the exit status."""
    parser = _parser("make_template_export", "Export templates, with the sky map that they are on.")
    parser.add_argument("--instrument", required=True, choices=camera_names())
    parser.add_argument("--collection", help="where they are (default: <INSTRUMENT>/templates)")
    parser.add_argument("--skymap-collection", default="skymaps", help="where the sky map is (%(default)s)")
    parser.add_argument(
        "--dataset-type", action="append", default=[], help="what they are called (default: template_coadd)"
    )
    parser.add_argument("--skymap", help="name of the sky map (default: all)")
    parser.add_argument("--bands", help="such as g,r,i (default: all)")
    parser.add_argument("--tracts", type=_numbers, help="such as 9813,9814 (default: all)")
    parser.add_argument(
        "--around", nargs=3, type=float, metavar=("RA", "DEC", "RADIUS"), help="only in a circle, in degrees"
    )
    options = parser.parse_args(arguments)

    def select(butler: Butler, selection: Selection) -> None:
        bands = options.bands.split(",") if options.bands else None
        target = Collections(options.instrument)
        add_sky(
            selection,
            butler,
            options.collection or target.templates,
            [circle(*options.around)] if options.around else None,
            chain=target.templates,
            dataset_types=options.dataset_type or ["template_coadd"],
            accept=lambda ref: (
                (options.skymap is None or ref.dataId["skymap"] == options.skymap)
                and (bands is None or ref.dataId.get("band") in bands)
                and (options.tracts is None or ref.dataId.get("tract") in options.tracts)
            ),
        )
        if selection.refs:
            add_sky_map(selection, butler, options.skymap_collection, options.skymap)

    return _run(options, select)


def make_preloaded_export(arguments: Sequence[str] | None = None) -> int:
    """Export preloaded histories of visits; returns the exit status."""
    parser = _parser(
        "make_preloaded_export",
        "Export what was preloaded for visits of prompt processing (DiaObjects, DiaSources, solar-system "
        "predictions), so that their pipelines can be run again without the APDB as it was.",
    )
    parser.add_argument("--instrument", required=True, choices=camera_names())
    parser.add_argument(
        "--where", default="", help="which visits, such as \"group = '...' AND detector = 94\""
    )
    options = parser.parse_args(arguments)

    def select(butler: Butler, selection: Selection) -> None:
        add_instrument_records(selection, butler, options.instrument)
        add_preloaded(selection, butler, options.instrument, options.where)

    return _run(options, select)


def _parser(program: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog="The folder can be read into another repository with import_export.",
    )
    parser.add_argument("repo", help="the repository that is exported from: path, URI or alias")
    parser.add_argument("output", type=Path, help="a new folder for the export")
    return parser


def _run(options: argparse.Namespace, select: Callable[[Butler, Selection], object]) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    use_butler_types()
    selection = Selection()
    try:
        with Butler.from_config(options.repo, writeable=False) as butler:
            select(butler, selection)
            contents = write_export(butler, options.output, selection, options.repo)
    except (RepositoryProblemError, FileNotFoundError, FileExistsError) as error:
        _LOG.critical("%s", error)
        return 1
    for name, number in contents["datasets"].items():
        sys.stdout.write(f"{number:8d} {name}\n")
    return 0


def _span(exposures: Sequence[DimensionRecord]) -> Timespan | None:
    times: list[Time] = []
    for record in exposures:
        if record.timespan is not None:
            times += [time for time in (record.timespan.begin, record.timespan.end) if time is not None]
    if not times:
        return None
    # The ends of a night's exposures: what is valid within a second of them is wanted too.
    second = TimeDelta(1.0, format="sec")
    return Timespan(min(times) - second, max(times) + second)


def _numbers(text: str) -> set[int]:
    try:
        return {int(word) for word in text.split(",")}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers separated by commas") from None
