"""The regimes of ``ap_chain.py``: pairs of FITS files with their truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from moffat.exposure import NJY_PER_ELECTRON
from moffat.scenes import PIXEL_ARCSEC, ImagePair, PairScene, make_pair

from prompt_processing.images import Exposure, Mask

DETECTOR_PIXELS = 4072 * 4000
"""Pixels of an LSSTCam detector: densities are per detector."""

REPORT_SEEDS = range(5001, 5100)
"""First seed of the reported scenes. Tuning and training use only seeds below 5000."""

SKY_ELECTRONS = 1200.0


@dataclass(frozen=True, slots=True)
class Regime:
    """One kind of field and conditions.

    Attributes
    ----------
    science_fwhm, template_fwhm : `float`
        Seeing, arcsec.
    stars, galaxies : `int`
        Numbers per detector.
    masked, missing : `float`
        Shares of the science image's and the template's pixels, respectively.
    relaxed : `bool`
        Whether this regime relaxes the targets by a factor of 2.
    whole : `bool`
        Whether to always draw a whole detector, because a part would have too few stars for statistics.
    """

    science_fwhm: float = 0.9
    template_fwhm: float = 0.7
    stars: int = 8000
    galaxies: int = 4000
    masked: float = 0.003
    missing: float = 0.0
    relaxed: bool = True
    whole: bool = False


REGIMES = {
    "typical": Regime(relaxed=False),
    "template sharper": Regime(1.4, 0.6),
    "equal seeing": Regime(0.8, 0.8),
    "template blurrier": Regime(0.6, 1.4),
    "sparse, 1 000 stars": Regime(stars=1000, whole=True, relaxed=False),
    "crowded, 50 000 stars": Regime(stars=50_000),
    "galaxies": Regime(galaxies=20_000),
    "3 % masked": Regime(masked=0.03),
    "20 % of the template missing": Regime(missing=0.2),
}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A pair of files and their contents.

    Attributes
    ----------
    science, template : `~pathlib.Path`
        FITS: ``SCI`` (electrons, sky included) and ``MASK`` (0 is good).
    pair : `ImagePair`
        The same as exposures, nJy, without sky.
    truth : `~astropy.table.Table`
        Changed sources: ``x, y``, ``electrons``, ``kind``, ``snr`` (of an ideal subtraction), ``clear``
        (no pixel is unusable in either image).
    """

    science: Path
    template: Path
    pair: ImagePair
    truth: Table


def make_scene(regime: Regime, seed: int, shape: tuple[int, int], folder: Path) -> Scene:
    """Draw a pair and write it to files."""
    share = shape[0] * shape[1] / DETECTOR_PIXELS
    rng = np.random.default_rng(seed)
    transients = max(round(900 * share), 60)
    parameters = PairScene(
        shape=shape,
        science_fwhm=regime.science_fwhm,
        template_fwhm=regime.template_fwhm,
        stars=max(round(regime.stars * share), 20),
        galaxies=round(regime.galaxies * share),
        transients=transients,
        variables=max(transients // 8, 5),
        movers=max(transients // 20, 3),
        cosmic_rays=round(300 * share),
        sky_electrons=SKY_ELECTRONS,
        masked_fraction=regime.masked,
        missing_fraction=regime.missing,
        astrometric_scatter=0.02,
        rotation=float(rng.uniform(0, 360)),
        beta=float(rng.uniform(2.8, 4.0)),
        seed=seed,
    )
    pair = make_pair(parameters)
    whole = _whole_template(pair.patches)
    pair = replace(pair, patches=[whole])
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "science.fits", folder / "template.fits"
    _write(paths[0], pair.science, 1.0, parameters.saturation_electrons)
    _write(paths[1], whole, float(parameters.template_exposures), parameters.saturation_electrons)
    return Scene(*paths, pair, _truth(pair, whole, parameters))


def _whole_template(patches: list[Exposure]) -> Exposure:
    """Join the four overlapping patches: other programs read one file."""
    first = patches[0]
    assert first.wcs is not None
    origin = np.asarray(first.wcs.wcs.crpix)
    places = [
        tuple(round(float(v)) for v in origin - np.asarray(p.wcs.wcs.crpix))  # type: ignore[union-attr]
        for p in patches
    ]
    height = max(y + p.shape[0] for (_, y), p in zip(places, patches, strict=True))
    width = max(x + p.shape[1] for (x, _), p in zip(places, patches, strict=True))
    out = Exposure.blank((height, width), wcs=first.wcs, psf=first.psf, photo_calib=first.photo_calib)
    for (x, y), part in zip(places, patches, strict=True):
        square = np.s_[y : y + part.shape[0], x : x + part.shape[1]]
        out.image[square], out.mask[square], out.variance[square] = part.image, part.mask, part.variance
    return out


def _write(path: Path, exposure: Exposure, gain: float, saturation: float) -> None:
    assert exposure.wcs is not None
    header = exposure.wcs.to_header()
    level = saturation - 0.02 * saturation
    header["GAIN"], header["SATURATE"], header["RDNOISE"] = gain, level, 7.0
    image = exposure.image / np.float32(NJY_PER_ELECTRON) + np.float32(SKY_ELECTRONS)
    bad = exposure.has(Mask.BAD | Mask.NO_DATA) | ~np.isfinite(image)
    image[bad & ~np.isfinite(image)] = SKY_ELECTRONS
    planes = fits.ImageHDU(image, header, "SCI"), fits.ImageHDU(bad.astype(np.uint8), name="MASK")
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path, overwrite=True)


def _truth(pair: ImagePair, template: Exposure, scene: PairScene) -> Table:
    truth = pair.truth.copy()
    wobble = scene.astrometric_scatter / PIXEL_ARCSEC
    x, y = np.asarray(truth["x"]).copy(), np.asarray(truth["y"]).copy()
    moved = np.asarray(truth["kind"]) == "variable"
    # Only the static sky includes the WCS's error; new sources are drawn at their true positions.
    truth["x"] = x + np.where(moved, wobble * np.sin(x / 611.0 + 1.0), 0)
    truth["y"] = y + np.where(moved, wobble * np.cos(y / 533.0), 0)
    truth["electrons"] = np.asarray(truth["flux"]) / NJY_PER_ELECTRON
    assert pair.science.wcs is not None
    assert template.wcs is not None
    ra, dec = pair.science.wcs.all_pix2world(x, y, 0)
    tx, ty = template.wcs.all_world2pix(ra, dec, 0)
    noise = ideal_noise(pair.science), ideal_noise(template)
    truth["snr"] = [
        ideal_snr(noise, abs(float(row["flux"])), (a, b), (c, d))
        for row, a, b, c, d in zip(truth, x, y, tx, ty, strict=True)
    ]
    unusable = int(Mask.BAD | Mask.NO_DATA | Mask.SAT | Mask.CR)
    truth["clear"] = [
        _usable(pair.science, a, b, unusable) and _usable(template, c, d, unusable)
        for a, b, c, d in zip(x, y, tx, ty, strict=True)
    ]
    return truth


def _usable(exposure: Exposure, x: float, y: float, planes: int) -> bool:
    column, row = round(float(x)), round(float(y))
    box = exposure.mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return box.shape == (3, 3) and not np.any(box & planes)


@dataclass(frozen=True, slots=True, eq=False)
class IdealNoise:
    """The quantities that determine the depth of one image.

    Attributes
    ----------
    power : `~numpy.ndarray`, shape (64, 64)
        Squared modulus of the PSF's Fourier transform, in the middle of the image.
    variance : `~numpy.ndarray`, shape (height, width)
        Variance of the pixels, nJy squared.
    sky : `float`
        Median of the variance.
    """

    power: np.ndarray
    variance: np.ndarray
    sky: float


def ideal_noise(exposure: Exposure) -> IdealNoise:
    """Return an image's noise and PSF for an ideal subtraction."""
    psf = exposure.psf
    assert psf is not None
    power = np.abs(np.fft.fft2(psf.image_at(psf.x_centre, psf.y_centre), (64, 64))) ** 2
    return IdealNoise(power, exposure.variance, float(np.nanmedian(exposure.variance[::37, ::37])))


def ideal_snr(
    noise: tuple[IdealNoise, IdealNoise], flux: float, at: tuple[float, float], there: tuple[float, float]
) -> float:
    """Return the signal-to-noise ratio of a point source in the best possible difference.

    Parameters
    ----------
    noise : `tuple` of `IdealNoise`
        Noise of the science image and of the template.
    flux : `float`
        Flux, nJy.
    at, there : `tuple` of `float`
        Column and row in each image.

    Notes
    -----
    For Gaussian noise of the local variances it is the ratio of Zackay, Ofek & Gal-Yam (2016):
    ``F^2 sum |Ps|^2 |Pt|^2 / (Vs |Pt|^2 + Vt |Ps|^2)`` over frequencies.
    """
    variances = []
    for image, place in zip(noise, (at, there), strict=True):
        column, row = (round(float(v)) for v in place)
        box = image.variance[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        variances.append(float(np.nanmedian(box)) if np.isfinite(box).any() else image.sky)
    science, template = (image.power for image in noise)
    total = variances[0] * template + variances[1] * science
    return float(flux * np.sqrt(np.mean(science * template / np.maximum(total, 1e-30))))
