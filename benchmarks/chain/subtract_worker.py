"""Run one timed subtraction in the peers' environment, which does not contain this project.

    python -P subtract_worker.py sfft|properimage|ois|stdpipe PAIR.npz OUT.npz CPU_SECONDS

Unusable pixels are first set to the sky's level. Each package is called as in its documentation, with a
kernel that varies in second degree where possible. SIGPROF ends a subtraction that exceeds its CPU seconds,
and memory is limited to protect the machine.
"""

import json
import os
import resource
import signal
import sys
import time

import numpy as np

MEMORY_BYTES = 12 << 30


def with_sfft(science, template, bad, fwhms):
    from astropy.io import fits
    from sfft.CustomizedPacket import Customized_Packet
    from sfft.sfftcore.SFFTConfigure import SingleSFFTConfigure

    convolved = "REF" if fwhms[1] <= fwhms[0] else "SCI"
    half = int(np.clip(np.ceil(2.0 * max(fwhms) / 2), 4, 8))
    tiles = sfft_tiles(science.shape)
    names = []
    for number, (tile, _) in enumerate(tiles):
        files = {}
        for name, image in (("REF", template), ("SCI", science), ("mREF", template), ("mSCI", science)):
            data = np.where(bad, 0, image)[tile] if name.startswith("m") else image[tile]
            files[f"FITS_{name}"] = f"sfft_{name}_{number}.fits"
            fits.PrimaryHDU(data.astype(np.float32)).writeto(files[f"FITS_{name}"], overwrite=True)
        names.append(files)
        # Compiles the code for this size of image and kernel; the measured call loads it.
        SingleSFFTConfigure.SSC(
            NX=data.shape[1], NY=data.shape[0], KerHW=half, KerPolyOrder=2, BGPolyOrder=0,
            ConstPhotRatio=True, BACKEND_4SUBTRACT="Numpy", NUM_CPU_THREADS_4SUBTRACT=1, VERBOSE_LEVEL=0,
        )  # fmt: skip

    def call():
        out = np.empty(science.shape, np.float32)
        for files, (tile, own) in zip(names, tiles, strict=True):
            _, difference = Customized_Packet.CP(
                **files, ForceConv=convolved, GKerHW=half, KerPolyOrder=2, BGPolyOrder=0,
                ConstPhotRatio=True, BACKEND_4SUBTRACT="Numpy", NUM_CPU_THREADS_4SUBTRACT=1, VERBOSE_LEVEL=0,
            )[:2]  # fmt: skip
            starts = [o.start - t.start for o, t in zip(own, tile, strict=True)]
            sizes = [o.stop - o.start for o in own]
            inner = tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
            out[own] = np.asarray(difference).T[inner]
        return out

    remark = f"kernel {2 * half + 1} x {2 * half + 1}, degree 2, on the {convolved}"
    return call, remark + (f", in {len(tiles)} tiles" if len(tiles) > 1 else "")


def sfft_tiles(shape):
    """Return tiles for sfft and the part of each to keep: sfft needs 3 GiB per million pixels."""
    n = int(np.ceil(np.sqrt(shape[0] * shape[1] / 2_000_000)))
    overlap = 20 if n > 1 else 0
    axes = []
    for size in shape:
        own = [slice(size * i // n, size * (i + 1) // n) for i in range(n)]
        # All of one size, because sfft compiles for each size.
        length = min(-(-size // n) + 2 * overlap, size)
        starts = [min(max(part.start - overlap, 0), size - length) for part in own]
        axes.append([(slice(a, a + length), part) for a, part in zip(starts, own, strict=True)])
    return [((r, c), (ro, co)) for r, ro in axes[0] for c, co in axes[1]]


def with_properimage(science, template, bad, fwhms):
    from properimage.operations import subtract
    from properimage.single_image import SingleImage

    def call():
        new = SingleImage(np.ma.array(science.astype(np.float64), mask=bad), smooth_psf=False)
        ref = SingleImage(np.ma.array(template.astype(np.float64), mask=bad), smooth_psf=False)
        with new, ref:
            difference, *_ = subtract(
                ref=ref, new=new, smooth_psf=False, fitted_psf=False, align=False, iterative=False,
                beta=False, shift=False,
            )  # fmt: skip
        return np.real(np.ma.filled(difference, np.nan))

    return call, "measured PSFs, constant over the image"


def with_ois(science, template, bad, fwhms):
    from ois import optimal_system

    swap = fwhms[1] > fwhms[0]
    half = int(np.clip(np.ceil(max(fwhms)), 4, 8))
    image, reference = (template, science) if swap else (science, template)

    def call():
        # With more than one Gaussian, version 0.2 assembles its kernel incorrectly whatever the fit.
        difference = optimal_system(
            np.ma.array(image.astype(np.float64), mask=bad),
            np.ma.array(reference.astype(np.float64), mask=bad),
            kernelshape=(2 * half + 1, 2 * half + 1), method="Alard-Lupton", bkgdegree=None,
            gausslist=[{"sx": 1.5, "sy": 1.5, "modPolyDeg": 2}], gridshape=(2, 2),
        )[0]  # fmt: skip
        return np.asarray(np.ma.filled(difference, np.nan)) * (-1 if swap else 1)

    return call, "Alard-Lupton, one Gaussian of degree 2, on a 2 x 2 grid"


def with_stdpipe(science, template, bad, fwhms):
    from stdpipe.subtraction import run_zogy

    def call():
        # stdpipe measures the PSFs itself, with source-extractor and psfex.
        return run_zogy(
            science.astype(np.float64), template.astype(np.float64), mask=bad, template_mask=bad,
            image_fwhm=fwhms[0], template_fwhm=fwhms[1], image_gain=1.0, template_gain=9.0, scale=1.0,
            nthreads=1,
        )[0]  # fmt: skip

    return call, "ZOGY, measured PSFs, constant over the image"


def main():
    name, pair, out, limit = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    with np.load(pair) as data:
        science, template, bad, fwhms = (data[key] for key in ("science", "template", "bad", "fwhms"))
    science, template = np.where(bad, 0, science), np.where(bad, 0, template)
    maker = {"sfft": with_sfft, "properimage": with_properimage, "ois": with_ois, "stdpipe": with_stdpipe}[
        name
    ]
    call, remark = maker(science, template, bad, tuple(float(f) for f in fwhms))
    signal.setitimer(signal.ITIMER_PROF, float(limit))
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    difference = call()
    signal.setitimer(signal.ITIMER_PROF, 0)
    numbers = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": sum(os.times()[:4]) - cpu,
        "remark": remark,
    }
    np.savez(out, difference=np.asarray(difference, np.float32), numbers=json.dumps(numbers))


if __name__ == "__main__":
    main()
