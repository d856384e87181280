"""Circuit breakers stop an absurd visit before the APDB; sane ones pass with their numbers."""

from dataclasses import replace

import pandas as pd
import pytest

from prompt_processing.association.visit_quality import (
    VisitLimits,
    metric_bundle,
    require_sane_visit,
    visit_metrics,
)
from prompt_processing.imaging.errors import AbsurdVisitError
from prompt_processing.tasks.associate_apdb import AssociateApdbConfig

SCIENCE = {
    "SEEING_FWHM_ARCSEC": 0.8,
    "psf_ellipticity": 0.03,
    "zero_point_mag": 32.1,
    "zero_point_scatter_mag": 0.01,
    "astrometric_rms_mas": 15.0,
    "limiting_magnitude_5sigma": 24.4,
    "n_sources": 5000,
}
DIFFERENCE = {"residualStars": 1.02, "residualSky": 1.0, "kernelCondition": 900.0, "usableFraction": 0.97}


def dia_sources(n, negative=0):
    flags = [i < negative for i in range(n)]
    return pd.DataFrame(
        {"isNegative": flags, "isDipole": [False] * n, "reliability": [0.9] * n, "trailLength": [None] * n}
    )


def test_sane_visit_passes_with_its_numbers():
    metrics = visit_metrics(SCIENCE, DIFFERENCE, dia_sources(300, 40))
    require_sane_visit(metrics)
    assert metrics["seeing"] == 0.8
    assert metrics["kernelCondition"] == 900.0
    assert (metrics["numDiaSources"], metrics["numNegative"], metrics["numReliable"]) == (300, 40, 300)
    bundle = metric_bundle(metrics)["alertProduction"]
    assert {"metric": "seeing", "value": 0.8, "unit": "arcsec"} in bundle


@pytest.mark.parametrize(
    ("science", "difference", "sources", "told"),
    [
        ({"seeing_fwhm_arcsec": 9.0}, {}, (10, 0), "seeing"),
        ({"psf_ellipticity": 0.45}, {}, (10, 0), "psfEllipticity"),
        ({"zero_point_scatter_mag": 0.25}, {}, (10, 0), "zeroPointScatter"),
        ({"astrometric_rms_mas": 290.0}, {}, (10, 0), "astrometricRms"),
        ({}, {"residualStars": 6.0}, (10, 0), "residualStars"),
        ({}, {"usableFraction": 0.001}, (10, 0), "usableFraction"),
        ({}, {}, (20_001, 0), "numDiaSources"),
        ({}, {}, (200, 195), "negativeShare"),
    ],
)
def test_absurd_visit_stops_with_reason_and_number(science, difference, sources, told):
    lower = {k.lower(): v for k, v in SCIENCE.items()}
    metrics = visit_metrics({**lower, **science}, {**DIFFERENCE, **difference}, dia_sources(*sources))
    with pytest.raises(AbsurdVisitError, match=told) as caught:
        require_sane_visit(metrics)
    assert set(caught.value.metadata) == {told}


def test_limits_can_be_moved_and_switched_off():
    metrics = visit_metrics({"seeing_fwhm_arcsec": 9.0}, {}, dia_sources(3))
    require_sane_visit(metrics, replace(VisitLimits(), maximum_seeing=10))
    require_sane_visit(metrics, replace(VisitLimits(), maximum_seeing=0))


def test_unknown_numbers_stop_nothing():
    require_sane_visit(visit_metrics({}, {}, dia_sources(0)))


def test_configuration_of_the_task_has_the_same_defaults():
    assert AssociateApdbConfig().visit_limits() == VisitLimits()
