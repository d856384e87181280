import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dia_field import DiaField

from prompt_processing.demo.discrepancies import CUTOUT_PIXELS, Discrepancy, VisitProducts, explain
from prompt_processing.demo.discrepancy_sheet import draw_discrepancies, save_discrepancies
from prompt_processing.demo.results import DetectorVisit, NightResult
from prompt_processing.demo.score import StarScore, magnitude, score_transients
from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources

FIELD = DiaField()
X, Y = 150.0, 140.0
FLUX = 1800.0
"""S/N 30."""


class Sky:
    """A truth table, and the images and catalogues of a difference in which some of it appears."""

    def __init__(self) -> None:
        self.truth: list[dict[str, Any]] = []
        self.science = FIELD.exposure(1)
        self.template = FIELD.exposure(2)
        self.difference = FIELD.exposure(3)

    def source(self, x: float = X, y: float = Y, snr: float = 30.0, **columns: Any) -> None:
        ra, dec = (float(value) for value in FIELD.wcs().all_pix2world(x, y, 0))
        source = {"id": len(self.truth), "kind": "transient", "ra": ra, "dec": dec, "snr": snr, "clear": True}
        source |= {"trail_x": 0.0, "trail_y": 0.0}
        self.truth.append(source | {"flux": FLUX, "delta_flux": FLUX} | columns)

    def add(self, image: Exposure, flux: float = FLUX, x: float = X, y: float = Y) -> None:
        assert image.psf is not None
        stamp, x0, y0 = image.psf.stamp_at(x, y)
        size = len(stamp)
        image.image[y0 : y0 + size, x0 : x0 + size] += (flux * stamp).astype(np.float32)

    def mark(self, image: Exposure, plane: Mask, reach: int = 3) -> None:
        image.mask[int(Y) - reach : int(Y) + reach + 1, int(X) - reach : int(X) + reach + 1] |= int(plane)

    def visit(self) -> DetectorVisit:
        detected = detect_and_measure(self.difference, self.science, self.template)
        kept, rejected = filter_dia_sources(detected)
        names = ("diaSourceId", "ra", "dec", "x", "y", "snr", "psfFlux")
        dia_sources = pd.DataFrame({name: np.asarray(kept[name]) for name in names})
        columns = ("id", "kind", "ra", "dec", "snr", "clear", "flux", "delta_flux", "trail_x", "trail_y")
        truth = pd.DataFrame(self.truth, columns=columns)
        score = score_transients(truth, dia_sources)
        products = VisitProducts(self.science, self.template, self.difference, detected, rejected, 5.0)
        visit = DetectorVisit(
            1, "g", 7, 94, "R22_S11", 0.0, 0.0, None, truth, dia_sources, score, StarScore(0, np.nan, np.nan)
        )
        visit.discrepancies = explain(truth, dia_sources, score, products)
        return visit

    def only(self) -> Discrepancy:
        (one,) = self.visit().discrepancies
        return one


@pytest.fixture
def sky() -> Sky:
    return Sky()


def test_recovered_source_is_no_discrepancy(sky: Sky) -> None:
    sky.source()
    sky.add(sky.difference)
    assert sky.visit().discrepancies == []


def test_source_that_left_no_light_is_below_the_threshold(sky: Sky) -> None:
    sky.source()
    one = sky.only()
    assert (one.what, one.reason) == ("missed", "below the threshold")
    assert (one.x, one.y) == pytest.approx((X, Y), abs=1e-3)
    assert "30.0 was expected" in one.detail


def test_filter_that_rejected_a_source_is_named(sky: Sky) -> None:
    sky.source()
    sky.add(sky.difference)
    # On a star of which it is a hundredth.
    for image in (sky.science, sky.template):
        sky.add(image, 100 * FLUX)
    assert sky.only().reason == "filter: small change"


def test_mask_plane_that_hid_a_source_is_named(sky: Sky) -> None:
    sky.source()
    sky.add(sky.difference)
    sky.mark(sky.difference, Mask.CR, reach=8)
    assert sky.only().reason == "mask: CR"


def test_source_off_the_template_is_told_from_one_that_is_too_faint(sky: Sky) -> None:
    sky.source()
    sky.template.image[:, 100:200] = np.nan
    assert sky.only().reason == "off the template"


def test_two_sources_in_one_detection_are_merged(sky: Sky) -> None:
    sky.source()
    sky.source(x=X + 1.5, kind="variable")
    sky.add(sky.difference, 2 * FLUX)
    one = sky.only()
    assert (one.kind, one.reason) == ("variable", "merged")
    assert "with transient 0" in one.detail


def test_detection_beyond_the_match_radius_explains_both_sides(sky: Sky) -> None:
    sky.source(x=X + 3.2)
    sky.add(sky.difference)
    missed, spurious = sky.visit().discrepancies
    assert (missed.what, missed.reason) == ("missed", "displaced")
    assert (spurious.what, spurious.reason) == ("spurious", "displaced")
    assert str(spurious.id) in missed.detail


def test_what_is_left_beside_a_saturated_core_is_explained_by_the_mask(sky: Sky) -> None:
    sky.source(x=X + 3.2)
    sky.add(sky.difference)
    sky.difference.mask[int(Y) - 1 : int(Y) + 2, int(X) + 3] |= int(Mask.SAT_TEMPLATE)
    missed, spurious = sky.visit().discrepancies
    assert missed.reason == "mask: SAT_TEMPLATE"
    assert str(spurious.id) in missed.detail
    assert spurious.reason == "beside masked pixels: SAT_TEMPLATE"


def test_two_lost_sources_share_a_detection_between_them(sky: Sky) -> None:
    sky.source(x=X - 2.7, kind="supernova")
    sky.source(x=X + 2.7, kind="supernova")
    sky.add(sky.difference)
    first, second, spurious = sky.visit().discrepancies
    assert (first.reason, second.reason, spurious.reason) == ("merged", "merged", "merged sources")
    assert "with supernova 1" in first.detail
    assert "supernova 0" in spurious.detail
    assert "supernova 1" in spurious.detail


def test_wings_of_a_bright_star_are_told_at_twice_the_seeing(sky: Sky) -> None:
    sky.source(x=X + 8, snr=0.0, kind="star", flux=300 * FLUX, delta_flux=0.0)
    sky.source(x=X + 1, snr=0.0, kind="star", flux=3 * FLUX, delta_flux=0.0)
    sky.difference.mask[int(Y), int(X) + 2] |= int(Mask.INTRP)
    sky.add(sky.difference)
    one = sky.only()
    assert one.reason == "wings of a star"
    assert "2.0 FWHM" in one.detail
    assert "0.33%" in one.detail or "0.34%" in one.detail


def test_detection_of_nothing_has_no_excuse(sky: Sky) -> None:
    sky.add(sky.difference)
    one = sky.only()
    assert (one.what, one.reason) == ("spurious", "nothing at this position")
    assert one.snr == pytest.approx(30, rel=0.1)
    assert one.mag == pytest.approx(float(magnitude(np.array([FLUX]))[0]), abs=0.1)


def test_residual_names_the_star_that_left_it(sky: Sky) -> None:
    sky.source(snr=0.0, kind="star", flux=10 * FLUX, delta_flux=0.0)
    sky.source(snr=0.0, kind="star", flux=0.1 * FLUX, delta_flux=0.0)
    sky.add(sky.difference)
    one = sky.only()
    assert one.reason == "residual of a star"
    assert f"{float(magnitude(np.array([10 * FLUX]))[0]):.1f} mag" in one.detail


def test_masked_pixels_beside_a_spurious_source_are_named(sky: Sky) -> None:
    sky.add(sky.difference)
    sky.difference.mask[int(Y) + 3, int(X)] |= int(Mask.SAT)
    assert sky.only().reason == "beside masked pixels: SAT"


def test_second_detection_along_a_trail_names_its_source(sky: Sky) -> None:
    sky.source(kind="mover", trail_x=10.0)
    sky.add(sky.difference)
    sky.add(sky.difference, x=X + 8)
    one = sky.only()
    assert (one.what, one.reason) == ("spurious", "second detection")
    assert "mover 0" in one.detail


def test_unprocessed_visit_is_the_reason_for_all_that_it_missed(sky: Sky) -> None:
    sky.source()
    visit = sky.visit()
    (one,) = explain(visit.truth, visit.dia_sources, visit.transients, None)
    assert one.reason == "no difference image"
    assert one.cutouts == ()


def test_sheet_and_table_have_each_discrepancy(sky: Sky, tmp_path: Path) -> None:
    sky.source(x=60, y=60)
    sky.add(sky.difference)
    visit = sky.visit()
    result = NightResult([visit], 0, 0.2)
    assert [image.shape for image in visit.discrepancies[0].cutouts] == [(CUTOUT_PIXELS, CUTOUT_PIXELS)] * 3
    figure = draw_discrepancies(result.discrepancies)
    assert figure is not None
    figure.savefig(tmp_path / "sheet.png")
    captions = [axes.get_title(loc="left") for axes in figure.axes]
    assert sum("below the threshold" in text for text in captions) == 1
    assert sum("nothing at this position" in text for text in captions) == 1
    save_discrepancies(result, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert [(row["what"], row["detector_name"]) for row in rows] == [
        ("missed", "R22_S11"),
        ("spurious", "R22_S11"),
    ]


def test_perfect_night_leaves_a_header_and_no_sheet(tmp_path: Path) -> None:
    save_discrepancies(NightResult([], 0, 0.2), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().startswith("visit,detector")
    assert draw_discrepancies([]) is None
