"""Plan the exposures of a night, and choose source densities for their depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.time import Time

from prompt_processing.domain.clock import day_obs
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.instruments import Camera, Detector, load_instrument, lsst_exposure_id
from prompt_processing.instruments.raw_key import has_night_keys

from .conditions import ObservingConditions, draw_conditions
from .sky import SkyDensity

SLEW_SECONDS = 2.0
READOUT_SECONDS = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class PlannedExposure:
    """One exposure of the whole camera.

    Attributes
    ----------
    instrument : `str`
    exposure
        Id.
    group
        Of the visit.
    snap, snaps
        Index in the visit, from 0, and number of the visit's exposures.
    ra, dec, rotation
        Announced pointing, ICRS degrees, and angle of focal-plane +Y east of north.
    physical_filter, band : `str`
    begin
        TAI.
    exposure_time
        Seconds.
    conditions : `ObservingConditions`
    target, survey : `str`
    """

    instrument: str
    exposure: int
    group: str
    snap: int
    snaps: int
    ra: float
    dec: float
    rotation: float
    physical_filter: str
    band: str
    begin: Time
    exposure_time: float
    conditions: ObservingConditions
    target: str = "simulated field"
    survey: str = "SURVEY"

    @property
    def mid_mjd_tai(self) -> float:
        """Middle of the exposure, days."""
        return float(self.begin.tai.mjd + self.exposure_time / 2 / 86400)

    @property
    def true_pointing(self) -> tuple[float, float, float]:
        """True pointing: ra, dec, rotation in degrees."""
        east, north = self.conditions.pointing_error
        return (
            self.ra + east / 3600 / float(np.cos(np.radians(self.dec))),
            self.dec + north / 3600,
            self.rotation + self.conditions.rotation_error,
        )


def plan_visits(
    camera: Camera,
    n_visits: int,
    seed: int,
    physical_filter: str | None = None,
    exposure_time: float = 30.0,
    snaps: int = 1,
    minutes_between: float = 8.0,
) -> list[PlannedExposure]:
    """Plan visits of one field with small dithers and rotations.

    Parameters
    ----------
    camera : `~prompt_processing.instruments.Camera`
    n_visits : `int`
    seed : `int`
    physical_filter
        Physical filter; by default one of band r.
    exposure_time
        Exposure time of a snap, seconds.
    snaps
        Exposures per visit.
    minutes_between
        Minutes between visits, in which asteroids move.

    Returns
    -------
    exposures
        Exposures in order of time.

    Raises
    ------
    ValueError
        Raised if the camera has no such filter.
    InstrumentError
        Raised if the instrument's description has no values for simulations.
    """
    name = camera.name
    instrument = load_instrument(name)
    physical_filter = physical_filter or instrument.simulation.filter
    band = camera.filters.get(physical_filter)
    if band is None:
        raise ValueError(f"{name} has no filter {physical_filter!r}.")
    ra, dec, first = instrument.simulation.field
    rng = np.random.default_rng([seed, 10, *name.encode()])
    rotation = float(rng.uniform(20, 160))
    planned = []
    for visit in range(n_visits):
        start = Time(first, scale="tai") + visit * minutes_between * u.min
        # A few hundred LSSTCam pixels, so that other columns and amplifiers observe each star.
        east, north = rng.uniform(-25, 25, 2)
        turn = float(rng.uniform(-0.4, 0.4))
        if instrument.fixed_rotation is not None:
            rotation, turn = instrument.fixed_rotation, 0.0
        for snap in range(snaps):
            number = visit * snaps + snap + 1
            begin = start + snap * (exposure_time + READOUT_SECONDS + SLEW_SECONDS) * u.s
            planned.append(
                PlannedExposure(
                    instrument=name,
                    exposure=_exposure_id(name, begin, number),
                    group=_group(name, start, visit),
                    snap=snap,
                    snaps=snaps,
                    ra=ra + float(east) / 3600 / float(np.cos(np.radians(dec))),
                    dec=dec + float(north) / 3600,
                    rotation=(rotation + turn) % 360,
                    physical_filter=physical_filter,
                    band=band,
                    begin=begin,
                    exposure_time=exposure_time,
                    conditions=draw_conditions(rng, name, band, exposure_time),
                )
            )
    return planned


def template_conditions(
    camera: Camera, band: str, seed: int, count: int = 4, exposure_time: float = 30.0
) -> list[ObservingConditions]:
    """Draw the conditions of a template's exposures, with better seeing than a science image's."""
    rng = np.random.default_rng([seed, 11, *camera.name.encode()])
    median = load_instrument(camera.name).simulation.template_seeing
    return [
        draw_conditions(rng, camera.name, band, exposure_time, seeing=median * float(rng.uniform(0.93, 1.1)))
        for _ in range(count)
    ]


def five_sigma_magnitude(conditions: ObservingConditions, pixel_arcsec: float, read_noise: float) -> float:
    """Return the AB magnitude of a point source at 5 sigma in an exposure."""
    # 1 / sum(psf**2) of a Kolmogorov profile, in units of the FWHM squared.
    area = 2.6 * (conditions.psf.fwhm / pixel_arcsec) ** 2
    noise = np.sqrt(area * (conditions.sky_electrons(pixel_arcsec) + read_noise**2))
    # Near the limit, the source's photon noise matters too.
    electrons = 12.5 + np.sqrt(12.5**2 + 25 * noise**2)
    return float(NJY_ZERO_POINT - 2.5 * np.log10(electrons / conditions.electrons_per_njy))


def density_for(camera: Camera, detector: Detector, conditions: ObservingConditions) -> SkyDensity:
    """Choose source densities that suffice to calibrate a detector and to detect transients.

    LSSTCam has the density of the galactic pole. A detector with a smaller field
    or a brighter limit has more stars per square arcminute (as nearer to the
    galactic plane) and more transients.

    Parameters
    ----------
    camera : `~prompt_processing.instruments.Camera`
    detector
        A typical one.
    conditions
        Typical ones.
    """
    base = SkyDensity()
    pixel = camera.pixel_scale_arcsec
    area = detector.width * detector.height * (pixel / 60) ** 2
    limit = five_sigma_magnitude(conditions, pixel, detector.amplifiers[0].read_noise)
    # Stars of S/N above about 40, not saturated: 150 on a full detector, 70 on the smallest.
    useful = 10 ** (0.2 * (limit - 2.3 - base.faint_limit)) - 10 ** (0.2 * (limit - 7.5 - base.faint_limit))
    wanted_stars = float(np.clip(11 * np.sqrt(area), 70, 150))
    wanted_transients = float(np.clip(6 * np.sqrt(area), 14, 80))
    # The template's noise costs about a tenth of a magnitude.
    faintest = limit - 0.1
    return SkyDensity(
        stars=max(base.stars, wanted_stars / area / useful),
        galaxies=base.galaxies,
        transients=wanted_transients / area,
        movers=max(base.movers, 3 / area),
        transient_magnitudes=(faintest - 2.6, faintest),
        mover_magnitudes=(faintest - 4.0, faintest - 0.5),
    )


def _exposure_id(instrument: str, begin: Time, number: int) -> int:
    if has_night_keys(instrument):
        return lsst_exposure_id(day_obs(begin), number)
    described = load_instrument(instrument)
    rules = described.document.header
    if rules is not None and rules.exposure_id is None:
        return described.exposure_id_at(begin)
    return described.document.exposures.first_simulated + described.document.exposures.step * number


def _group(instrument: str, start: Time, visit: int) -> str:
    if has_night_keys(instrument):
        return str((start - 28.6 * u.s).isot)
    return f"{day_obs(start)}{visit + 1:06d}"
