"""Compare the writers of images: ours, that of ``lsst-images``, and CFITSIO's.

Run it as ``python benchmarks/image_writers.py``. All write the same simulated detector of 4004 x 4096 pixels,
one after the other, so that the ratios hold on any machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import fitsio
import numpy as np

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf, VisitInfo
from prompt_processing.images.fits import read_exposure, write_exposure
from prompt_processing.images.layout.identity import Identity
from prompt_processing.images.layout.objects import field_image
from prompt_processing.instruments.camera import load_camera
from prompt_processing.instruments.geometry import detector_wcs

_DETECTOR = 94
_IDENTITY = Identity("preliminary_visit_image")


def simulated() -> Exposure:
    """Return a detector with sky, stars and mask planes."""
    rng = np.random.default_rng(1)
    camera = load_camera("LSSTCam")
    detector = camera.detector(_DETECTOR)
    exposure = Exposure.blank((detector.height, detector.width))
    exposure.variance += np.float32(900.0)
    y, x = np.mgrid[-12:13, -12:13]
    star = np.exp(-(x**2 + y**2) / (2 * 2.0**2))
    for row, column, flux in zip(
        rng.integers(20, detector.height - 20, 3000),
        rng.integers(20, detector.width - 20, 3000),
        10 ** rng.uniform(2, 5, 3000),
        strict=True,
    ):
        part = slice(row - 12, row + 13), slice(column - 12, column + 13)
        exposure.image[part] += (flux * star).astype(np.float32)
        exposure.mask[part] |= int(Mask.DETECTED)
    exposure.variance += exposure.image / 1.4
    exposure.image += rng.normal(0, np.sqrt(exposure.variance)).astype(np.float32)
    exposure.mask[:, ::997] |= int(Mask.BAD)
    exposure.wcs = detector_wcs(camera, detector, 53.0, -28.0, 12.0)
    exposure.psf = Psf(
        np.stack([star, 0.01 * star, 0.02 * star]).astype(np.float32), 1, 2048.0, 2002.0, 2048.0
    )
    exposure.photo_calib = PhotoCalib(1.0, 0.001)
    exposure.visit_info = VisitInfo(
        "LSSTCam", 2025060900678, _DETECTOR, "r_57", "r", 60835.25, 30.0, 53.0, -28.0, 12.0
    )
    return exposure


def main() -> None:
    """Time the writers and our reader, and print the ratios."""
    from lsst.images.serialization import open_archive, write_archive

    exposure = simulated()

    def with_cfitsio(path: Path) -> None:
        with fitsio.FITS(str(path), "rw", clobber=True) as file:
            tiles = {"compress": "RICE", "tile_dims": (1, exposure.shape[1])}
            dither = {"qmethod": "SUBTRACTIVE_DITHER_2", "dither_seed": "checksum"}
            file.write(exposure.image, extname="IMAGE", qlevel=-7.5, **tiles, **dither)
            file.write(exposure.mask, extname="MASK", **tiles)
            file.write(exposure.variance, extname="VARIANCE", qlevel=-9.0, **tiles, **dither)

    def with_lsst_images(path: Path) -> None:
        path.unlink(missing_ok=True)
        write_archive(field_image(exposure, _IDENTITY), str(path))

    def read_with_lsst_images(path: Path) -> None:
        with open_archive(str(path)) as reader:
            reader.read()

    with TemporaryDirectory() as folder:
        writers: dict[str, Callable[[Path], object]] = {
            "ours": lambda path: write_exposure(path, exposure, _IDENTITY),
            "CFITSIO, pixels alone": with_cfitsio,
            "lsst-images, without loss": with_lsst_images,
        }
        results = {}
        for name, write in writers.items():
            path = Path(folder) / "image.fits"
            seconds = _processor_seconds(write, path)
            results[f"write: {name}"] = {
                "cpu_s": round(seconds, 3),
                "MB": round(path.stat().st_size / 1e6, 1),
            }
        path = Path(folder) / "ours.fits"
        write_exposure(path, exposure, _IDENTITY)
        for name, read in (("ours", read_exposure), ("lsst-images", read_with_lsst_images)):
            results[f"read: {name}"] = {"cpu_s": round(_processor_seconds(read, path), 3)}
    for name, values in results.items():
        kind = name.partition(":")[0]
        values["ratio"] = round(values["cpu_s"] / results[f"{kind}: ours"]["cpu_s"], 1)
    print(json.dumps(results, indent=2))


def _processor_seconds(run: Callable[[Path], object], path: Path) -> float:
    """Return the processor time of the second call: the first may compile and import."""
    run(path)
    start = time.process_time()
    run(path)
    return time.process_time() - start


if __name__ == "__main__":
    main()
