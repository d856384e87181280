"""The classic chain: source-extractor, psfex, scamp and swarp of Debian, connected by files."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from .scenes import Scene

PROGRAMS = {"source-extractor": "source-extractor", "psfex": "psfex", "scamp": "scamp", "SWarp": "swarp"}
"""Debian's names of the programs, and of their packages."""

_PARAMETERS = (
    "NUMBER X_IMAGE Y_IMAGE X_WORLD Y_WORLD ERRA_WORLD ERRB_WORLD ERRTHETA_WORLD XWIN_IMAGE YWIN_IMAGE "
    "ERRAWIN_IMAGE ERRBWIN_IMAGE ERRTHETAWIN_IMAGE XWIN_WORLD YWIN_WORLD ERRAWIN_WORLD ERRBWIN_WORLD "
    "ERRTHETAWIN_WORLD FLUX_AUTO FLUXERR_AUTO MAG_AUTO MAGERR_AUTO FLUX_RADIUS "
    "FLUX_APER(1) FLUXERR_APER(1) ELONGATION FLAGS SNR_WIN VIGNET(45,45)"
)


@dataclass(slots=True)
class Stages:
    """Wall-clock and CPU seconds of each step, and remarks on failures."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def missing_programs() -> list[str]:
    """Return the missing Debian packages."""
    return [package for program, package in PROGRAMS.items() if shutil.which(program) is None]


def run(stages: Stages, stage: str, command: list[str], folder: Path, seconds: float = 900) -> bool:
    """Run a program and record its time; return whether it succeeded."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=seconds, env=environment, check=False
        )
        failed = done.returncode != 0
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [""]
    except subprocess.TimeoutExpired:
        failed, last = True, [f"took more than {seconds:.0f} s"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    stages.seconds[stage] = stages.seconds.get(stage, 0) + time.perf_counter() - start
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    stages.cpu[stage] = stages.cpu.get(stage, 0) + used
    if failed:
        stages.remarks.append(f"{stage} failed: {last[0][:150]}")
    return not failed


def prepare(scene: Scene, folder: Path, stages: Stages) -> tuple[Path, Path]:
    """Detect, model PSFs, align and resample; return sky-subtracted science image and template on one grid.

    The science image is SWarp's sky-subtracted one on its original grid. Pixels without
    data are 0 in the ``weight`` files beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "out.param").write_text("\n".join(_PARAMETERS.split()) + "\n")
    (folder / "gauss.conv").write_text(_gaussian_filter(3.5))
    for name, path in (("science", scene.science), ("template", scene.template)):
        with fits.open(path) as hdus:
            header = hdus["SCI"].header.copy()
            for keyword in ("EXTNAME", "XTENSION", "PCOUNT", "GCOUNT"):
                header.remove(keyword, ignore_missing=True)
            fits.PrimaryHDU(hdus["SCI"].data, header).writeto(folder / f"{name}.fits", overwrite=True)
            weight = (hdus["MASK"].data == 0).astype(np.float32)
            fits.PrimaryHDU(weight).writeto(folder / f"{name}.weight.fits", overwrite=True)
        extract(stages, "source-extractor", folder, name, "FITS_LDAC", 2.0, 12.0)
    run(stages, "psfex", ["psfex", "science.cat", "template.cat", "-CHECKPLOT_TYPE", "NONE",
                          "-CHECKIMAGE_TYPE", "NONE", "-WRITE_XML", "N", "-NTHREADS", "1",
                          "-PSFVAR_DEGREES", "2"], folder)  # fmt: skip
    align(scene, folder, stages)
    return warp(scene, folder, stages)


def extract(
    stages: Stages, stage: str, folder: Path, name: str, kind: str, threshold: float, aperture: float
) -> bool:
    """Run source-extractor on ``<name>.fits`` with its weights, into ``<name>.cat``.

    The threshold is in source-extractor's unit: filtered pixels, in units of the noise before the filter.
    """
    command = [
        "source-extractor", f"{name}.fits", "-CATALOG_NAME", f"{name}.cat", "-CATALOG_TYPE", kind,
        "-PARAMETERS_NAME", "out.param", "-FILTER_NAME", "gauss.conv", "-WEIGHT_TYPE", "MAP_WEIGHT",
        "-WEIGHT_IMAGE", f"{name}.weight.fits", "-DETECT_THRESH", f"{threshold:.3f}",
        "-ANALYSIS_THRESH", "2", "-DETECT_MINAREA", "4", "-PHOT_APERTURES", f"{aperture:.2f}",
        "-BACK_SIZE", "128", "-VERBOSE_TYPE", "QUIET", "-NTHREADS", "1",
    ]  # fmt: skip
    return run(stages, stage, command, folder)


def align(scene: Scene, folder: Path, stages: Stages) -> None:
    """Solve the science image's WCS against the template's catalogue with scamp, if possible."""
    command = [
        "scamp", "science.cat", "-ASTREF_CATALOG", "FILE", "-ASTREFCAT_NAME", "template.cat",
        "-ASTREFCENT_KEYS", "XWIN_WORLD,YWIN_WORLD", "-ASTREFERR_KEYS",
        "ERRAWIN_WORLD,ERRBWIN_WORLD,ERRTHETAWIN_WORLD",
        "-ASTREFMAG_KEY", "MAG_AUTO", "-ASTREFMAGERR_KEY", "MAGERR_AUTO", "-MATCH", "N",
        "-CROSSID_RADIUS", "0.3", "-FLAGS_MASK", "0x00ff", "-DISTORT_DEGREES", "3", "-SOLVE_PHOTOM", "N",
        "-CHECKPLOT_TYPE", "NONE", "-WRITE_XML", "N", "-NTHREADS", "1", "-VERBOSE_TYPE", "QUIET",
    ]  # fmt: skip
    if not run(stages, "scamp", command, folder):
        stages.remarks.append("the WCS of the header is used")


def warp(scene: Scene, folder: Path, stages: Stages) -> tuple[Path, Path]:
    """Resample the template to the science image's pixels with SWarp, and subtract the sky from both."""
    with fits.open(folder / "science.fits") as hdus:
        header = hdus[0].header
        target = WCS(header).to_header()
        target["NAXIS"], target["NAXIS1"], target["NAXIS2"] = 2, header["NAXIS1"], header["NAXIS2"]
    solved = folder / "science.head"
    lines = target.tostring(sep="\n", endcard=True, padding=False)
    if solved.exists():
        # Scamp's solution, on the science image's own pixels.
        wanted = [
            line for line in solved.read_text(encoding="latin-1").splitlines()
            if line[:8].strip() in _WCS_KEYS or line.startswith("PV")
        ]  # fmt: skip
        sizes = [f"{k:<8}= {int(target[k]):20d}" for k in ("NAXIS", "NAXIS1", "NAXIS2")]
        lines = "\n".join([*sizes, *wanted, "END"])
    (folder / "warped.head").write_text(lines + "\n")
    run(stages, "swarp", [
        "SWarp", "template.fits", "-IMAGEOUT_NAME", "warped.fits", "-WEIGHTOUT_NAME", "warped.weight.fits",
        "-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "template.weight.fits", "-RESAMPLING_TYPE",
        "LANCZOS3", "-SUBTRACT_BACK", "Y", "-BACK_SIZE", "128", "-NTHREADS", "1", "-WRITE_XML", "N",
        "-VERBOSE_TYPE", "QUIET", "-FSCALASTRO_TYPE", "NONE", "-FSCALE_DEFAULT", "1.0",
    ], folder)  # fmt: skip
    run(stages, "source-extractor", [
        "source-extractor", "science.fits", "-CATALOG_TYPE", "NONE", "-PARAMETERS_NAME", "out.param",
        "-FILTER_NAME", "gauss.conv", "-BACK_SIZE", "128", "-CHECKIMAGE_TYPE", "-BACKGROUND",
        "-CHECKIMAGE_NAME", "flat.fits", "-VERBOSE_TYPE", "QUIET", "-WEIGHT_TYPE", "MAP_WEIGHT",
        "-WEIGHT_IMAGE", "science.weight.fits", "-DETECT_THRESH", "50", "-ANALYSIS_THRESH", "50",
    ], folder)  # fmt: skip
    return folder / "flat.fits", folder / "warped.fits"


_WCS_KEYS = {
    *(f"{k}{i}" for k in ("CTYPE", "CUNIT", "CRVAL", "CRPIX") for i in (1, 2)),
    *(f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)),
    "EQUINOX", "RADESYS",
}  # fmt: skip


def detect_changes(
    folder: Path, difference: np.ndarray, bad: np.ndarray, fwhm: float, stages: Stages
) -> Table:
    """Run source-extractor on a difference and its negative, as the classic chain does.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder for files.
    difference : `~numpy.ndarray`
        Science minus template.
    bad : `~numpy.ndarray` of bool
        Pixels that are unusable in either image.
    fwhm : `float`
        FWHM of the difference, pixels, which sets filter and aperture: peaks of 4 sigma after the filter
        are kept if their flux within 1.4 FWHM, nine tenths as deep as a PSF flux, reaches 5 sigma.
    stages : `Stages`
        Receives the time.

    Returns
    -------
    sources : `~astropy.table.Table`
        ``x, y`` (pixels from 0), ``snr``, ``electrons``.
    """
    half = min(int(np.ceil(fwhm)), 15)
    (folder / "gauss.conv").write_text(_gaussian_filter(fwhm, half))
    sharpness = float(np.sqrt(np.sum(_gaussian(fwhm, half) ** 2)))
    tables = []
    for sign in (1, -1):
        name = "positive" if sign > 0 else "negative"
        data = np.where(bad, 0, sign * np.nan_to_num(difference)).astype(np.float32)
        fits.PrimaryHDU(data).writeto(folder / f"{name}.fits", overwrite=True)
        fits.PrimaryHDU((~bad).astype(np.float32)).writeto(folder / f"{name}.weight.fits", overwrite=True)
        if not extract(
            stages, "source-extractor on the difference", folder, name, "FITS_1.0", 4 * sharpness, 1.4 * fwhm
        ):
            continue
        table = Table.read(folder / f"{name}.cat", hdu=1)
        snr = np.asarray(table["FLUX_APER"], float).ravel() / np.asarray(table["FLUXERR_APER"], float).ravel()
        chosen = snr > 5
        tables.append(
            np.column_stack([
                table["X_IMAGE"][chosen] - 1, table["Y_IMAGE"][chosen] - 1, snr[chosen],
                sign * np.asarray(table["FLUX_AUTO"], float)[chosen],
            ])
        )  # fmt: skip
    rows = np.concatenate(tables) if tables else np.zeros((0, 4))
    return Table(rows, names=("x", "y", "snr", "electrons"))


def _gaussian(fwhm: float, half: int) -> np.ndarray:
    """Return a Gaussian of sum 1."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.exp(-4 * np.log(2) * (x**2 + y**2) / fwhm**2)
    return np.asarray(kernel / kernel.sum())


def _gaussian_filter(fwhm: float, half: int = 3) -> str:
    rows = "\n".join(" ".join(f"{v:.6f}" for v in row) for row in _gaussian(fwhm, half))
    return f"CONV NORM\n{rows}\n"
