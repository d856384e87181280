"""A small field of sources with its own APDB."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from lsst.dax.apdb import Apdb, ApdbSql

from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.association.standardize import standardize_dia_sources
from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure, Psf, VisitInfo

SIZE = 300
NOISE_NJY = 10.0


@dataclass
class DiaField:
    """Exposures and measurements of point sources on one detector.

    Every visit observes the same sky; `visit` makes images with sources at the given sky positions.
    """

    detector: int = 94
    first_visit: int = 2025060900001
    first_mjd: float = 60836.25
    ra0: float = 0.001  # so that the field has sources on both sides of RA 0
    dec0: float = -30.0
    schemas: ApdbSchemas = field(default_factory=ApdbSchemas.load)

    def wcs(self) -> WCS:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crpix = [SIZE / 2, SIZE / 2]
        wcs.wcs.crval = [self.ra0, self.dec0]
        wcs.wcs.cd = np.array([[-0.2, 0.01], [0.01, 0.2]]) / 3600
        wcs.wcs.set()
        return wcs

    def psf(self) -> Psf:
        y, x = np.mgrid[-12:13, -12:13]
        coefficients = np.zeros((3, 25, 25), np.float32)
        coefficients[0] = np.exp(-0.5 * (x**2 + y**2) / 1.7**2)
        coefficients[1] = 0.02 * coefficients[0] * x / 5
        return Psf(coefficients, 1, SIZE / 2, SIZE / 2, SIZE / 2)

    def visit_info(self, number: int, band: str = "r") -> VisitInfo:
        return VisitInfo(
            "LSSTCam",
            self.first_visit + number,
            self.detector,
            f"{band}_x",
            band,
            self.first_mjd + number,
            30.0,
            self.ra0,
            self.dec0,
            0.0,
        )

    def grid(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Sky positions of n well-separated sources on the detector."""
        per_row = int(np.ceil(np.sqrt(n)))
        steps = np.linspace(20, SIZE - 20, per_row)
        x, y = (axis.ravel()[:n] for axis in np.meshgrid(steps, steps))
        return self.wcs().all_pix2world(x + 0.3, y - 0.2, 0)

    def exposure(self, number: int, ra=(), dec=(), flux=(), band: str = "r") -> Exposure:
        rng = np.random.default_rng([number + 100, 17])
        exposure = Exposure.blank((SIZE, SIZE), wcs=self.wcs(), psf=self.psf())
        exposure.visit_info = self.visit_info(number, band)
        exposure.metadata = {"REASON": "science", "OBJECT": "field"}
        exposure.image[:] = rng.normal(0, NOISE_NJY, (SIZE, SIZE))
        exposure.variance[:] = NOISE_NJY**2
        if len(ra):
            for x, y, f in zip(*self.wcs().all_world2pix(ra, dec, 0), flux, strict=True):
                stamp, x0, y0 = exposure.psf.stamp_at(x, y)
                exposure.image[y0 : y0 + 25, x0 : x0 + 25] += (f * stamp).astype(np.float32)
        return exposure

    def measured(self, number: int, ra, dec, flux, scatter_arcsec: float = 0.02) -> Table:
        n = len(ra)
        rng = np.random.default_rng([number + 100, 23])
        ra = np.asarray(ra) + rng.normal(0, scatter_arcsec, n) / 3600 / np.cos(np.radians(self.dec0))
        dec = np.asarray(dec) + rng.normal(0, scatter_arcsec, n) / 3600
        x, y = self.wcs().all_world2pix(ra, dec, 0) if n else (np.empty(0), np.empty(0))
        error = np.full(n, scatter_arcsec / 3600)
        return Table(
            {
                "diaSourceId": pack_ids(self.first_visit + number, self.detector, range(n)),
                "x": x,
                "y": y,
                "ra": ra % 360,
                "dec": dec,
                "raErr": error,
                "decErr": error,
                "psfFlux": np.asarray(flux, np.float64),
                "psfFluxErr": np.full(n, 50.0),
                "scienceFlux": np.asarray(flux, np.float64) + 1000,
                "scienceFluxErr": np.full(n, 60.0),
                "psfNdata": np.full(n, 600),
                "bboxSize": np.full(n, 21),
                "snr": np.asarray(flux, np.float64) / 50,
                "isDipole": np.zeros(n, bool),
                "isNegative": np.asarray(flux, np.float64) < 0,
                "not_in_the_apdb": np.arange(n),
            }
        )

    def standardized(self, number: int, ra, dec, flux, band: str = "r"):
        measured = self.measured(number, ra, dec, flux)
        reliability = Table(
            {
                "diaSourceId": measured["diaSourceId"],
                "score": np.full(len(measured), 0.9, np.float32),
                "version": ["v1"] * len(measured),
            }
        )
        info = self.visit_info(number, band)
        return standardize_dia_sources(
            measured, reliability, info, self.schemas.dia_source, Time.now()
        ).sources


@pytest.fixture
def dia_field() -> DiaField:
    return DiaField()


@pytest.fixture
def apdb_config(tmp_path: Path) -> str:
    """Make an APDB in SQLite; return the path of its configuration."""
    path = tmp_path / "apdb.yaml"
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}").save(str(path))
    return str(path)


@pytest.fixture
def apdb(apdb_config: str) -> Apdb:
    return Apdb.from_uri(apdb_config)
