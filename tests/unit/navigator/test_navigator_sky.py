"""An object on the sky: reference stars in their places, or the stars that its visit measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy.table import Table
from lsst.daf.butler import Butler, CollectionType
from plot_repository import INSTRUMENT, VISITS, make_repository, put

from prompt_processing.navigator.objects.sky import RADIUS_ARCSEC, Star, sky_chart, stars_near
from prompt_processing.navigator.sources import Places, Sources
from prompt_processing.repository.catalogues.importing import enter_stars

RA, DEC = 359.9999, -60.0
MakeSources = Callable[[Callable[[Butler], object]], Sources]
PLACE = (RA, DEC, VISITS[0], 94)


def stars_at(*east_north: tuple[float, float]) -> Table:
    east, north = np.array(east_north).T / 3600
    ra = (RA + east / np.cos(np.radians(DEC))) % 360
    n = len(east)
    flux = 1e5 * np.arange(1, n + 1)
    return Table({"id": np.arange(n), "ra": ra, "dec": DEC + north, "r_flux": flux, "psfFlux": flux})


@pytest.fixture
def make_sources(tmp_path: Path) -> MakeSources:
    def make(fill: Callable[[Butler], object]) -> Sources:
        repo = make_repository(tmp_path / "repo")
        with Butler.from_config(repo, writeable=True) as butler:
            fill(butler)
        return Sources(Places(repository=str(repo)))

    return make


def test_reference_stars_within_the_radius_are_found_brightest_first(make_sources: MakeSources) -> None:
    # One of them is beyond the meridian of zero, in another shard; one is too far away.
    table = stars_at((30.0, 0.0), (-10.0, 20.0), (RADIUS_ARCSEC + 5, 0.0))
    stars, what = stars_near(make_sources(lambda butler: enter_stars(butler, table, "test")), *PLACE)
    assert what == "reference stars of reference_stars"
    assert [round(one.mag, 2) for one in stars] == [18.15, 18.9]
    assert [one.ra for one in stars] == [table["ra"][1], table["ra"][0]]
    assert stars[1].ra < 1 < stars[0].ra


def test_without_a_catalogue_the_stars_of_the_visit_are_shown(make_sources: MakeSources) -> None:
    def fill(butler: Butler) -> None:
        place = {"instrument": INSTRUMENT, "visit": VISITS[0], "detector": 94}
        run, chain = f"{INSTRUMENT}/prompt/output-2025-06-09/run", f"{INSTRUMENT}/prompt/output-2025-06-09"
        put(butler, "single_visit_star", place, "ArrowAstropy", stars_at((1.0, 2.0)), run, **place)
        butler.collections.register(chain, CollectionType.CHAINED)
        butler.collections.redefine_chain(chain, [run])

    stars, what = stars_near(make_sources(fill), *PLACE)
    assert len(stars) == 1
    assert what == f"stars that visit {VISITS[0]} measured"


def test_repository_without_stars_has_none(make_sources: MakeSources) -> None:
    assert stars_near(make_sources(lambda butler: None), *PLACE) == ([], "no star")


def test_chart_has_north_up_and_east_left() -> None:
    star = Star(RA + 20 / 3600 / np.cos(np.radians(DEC)), DEC + 10 / 3600, 18.0)
    chart = sky_chart(RA, DEC, [star], [(RA, DEC)], "<b>stars</b>")
    svg = ElementTree.fromstring(chart.partition("<div>")[0])
    place = {
        one.get("class"): (float(one.get("cx", 0)), float(one.get("cy", 0))) for one in svg.iter("circle")
    }
    assert place["star"] == pytest.approx((-20.0, -10.0), abs=0.01)
    assert place["source"] == pytest.approx((0.0, 0.0), abs=0.01)
    assert "<b>" not in chart
