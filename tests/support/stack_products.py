"""Write this package's own products in the layouts in which the Rubin stack has them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from stack_files import ArchiveWriter, ast_of_wcs, ast_transform, write_exposure

from prompt_processing.images import Defects, Exposure, Mask, Psf
from prompt_processing.instruments.camera import Amplifier, Camera, Detector

_MAS = math.radians(1 / 3.6e6)


def write_stack_exposure(path: Path, exposure: Exposure, origin: tuple[int, int] = (0, 0)) -> None:
    """Write an exposure as ``afw`` does: pixels, header, and an archive with WCS, PSF and calibration."""
    archive = ArchiveWriter()
    primary: dict[str, Any] = {}
    wcs = exposure.wcs
    if wcs is not None:
        identity = archive.add("SkyWcs", [{"wcs": ast_of_wcs(wcs, origin)}], module="lsst.afw.geom")
        primary |= {"SKYWCS_ID": identity, "ARCHIVE_ID_SKYWCS": identity}
        if exposure.psf is not None:
            primary["PSF_ID"] = _coadd_psf(archive, exposure, identity, origin)
    if exposure.photo_calib is not None:
        row = {
            "flags": [True],
            "calibrationMean": float(exposure.photo_calib.njy_per_unit),
            "calibrationErr": float(exposure.photo_calib.njy_per_unit_err),
            "field": 0,
            "version": 1,
        }
        primary["PHOTOCALIB_ID"] = archive.add("PhotoCalib", [row], module="lsst.afw.image")
    header = {} if wcs is None else dict(wcs.to_header(relax=True))
    unit = exposure.metadata.get("BUNIT")
    # Calibrations keep the header of a raw.
    primary |= {"BUNIT": "adu"} if unit is None else {"BUNIT": "adu", "LSST ISR UNITS": unit}
    # Bits in another order than ours.
    bits = {name: 20 - bit for name, bit in Mask.plane_numbers().items()}
    planes = Mask.plane_numbers().items()
    mask = sum(((exposure.mask >> bit) & 1) << bits[name] for name, bit in planes)
    path.unlink(missing_ok=True)
    write_exposure(
        path,
        (exposure.image, np.asarray(mask, np.int32), exposure.variance),
        bits,
        primary=primary,
        header=header,
        archive=archive if primary.keys() & {"SKYWCS_ID", "PHOTOCALIB_ID"} else None,
        origin=origin,
        # As calibrations are; it takes long.
        compressed=exposure.psf is None,
    )


def _coadd_psf(archive: ArchiveWriter, exposure: Exposure, wcs: int, origin: tuple[int, int]) -> int:
    """Add the PSF as that of a coadd whose only input has the coadd's own pixels."""
    assert exposure.psf is not None
    height, width = exposure.shape
    one = {
        "wcs": wcs, "psf": _psfex(archive, exposure.psf, origin), "validPolygon": 0, "id": 1,
        "bbox_min_x": origin[0], "bbox_min_y": origin[1], "bbox_max_x": origin[0] + width - 1,
        "bbox_max_y": origin[1] + height - 1, "weight": 1.0,
    }  # fmt: skip
    settings = {"coaddwcs": wcs, "cachesize": 100, "avgpos_x": 0.0, "avgpos_y": 0.0}
    return archive.add("CoaddPsf", [settings], [one], module="lsst.meas.algorithms")


def _psfex(archive: ArchiveWriter, psf: Psf, origin: tuple[int, int]) -> int:
    places = {
        (i, j): place
        for place, (i, j) in enumerate(
            (degree - j, j) for degree in range(psf.order + 1) for j in range(degree + 1)
        )
    }
    # PSFEx orders its terms by the power of y, and within it by that of x.
    terms = [places[i, j] for j in range(psf.order + 1) for i in range(psf.order + 1 - j)]
    components = psf.coefficients[terms].astype(np.float32)
    sizes = {
        "ndim": 2, "ngroup": 1, "ncoeff": len(terms), "_size_size": 3, "_comp_size": components.size,
        "_context_size": 2, "averagePosition_x": 0.0, "averagePosition_y": 0.0, "_pixstep": 1.0,
    }  # fmt: skip
    arrays = {
        "group": np.zeros(2, np.int32), "degree": np.array([psf.order], np.int32),
        "basis": np.zeros(len(terms)), "coeff": np.zeros(len(terms)),
        "_size": np.array([psf.size, psf.size, len(terms)], np.int32), "_comp": components.ravel(),
        "_context_first": np.array([psf.x_centre + origin[0], psf.y_centre + origin[1]]),
        "_context_second": np.array([psf.scale, psf.scale]),
    }  # fmt: skip
    return archive.add("PsfexPsf", [sizes], [arrays], module="lsst.meas.extensions.psfex")


def write_stack_defects(path: Path, defects: Defects) -> None:
    """Write defects as ``ip_isr`` does: regions in FITS's own form, pixels counted from 1."""
    boxes = defects.boxes.astype(float)
    table = Table(
        {
            "X": boxes[:, 0] + (boxes[:, 2] - 1) / 2 + 1,
            "Y": boxes[:, 1] + (boxes[:, 3] - 1) / 2 + 1,
            "SHAPE": np.full(len(boxes), "BOX", "U16"),
            "R": boxes[:, 2:],
            "ROTANG": np.zeros(len(boxes)),
        },
        meta={
            "OBSTYPE": "defects",
            "HIERARCH DEFECTS_SCHEMA": "Simple",
            "HIERARCH DEFECTS_SCHEMA_VERSION": 1,
        },
    )
    path.unlink(missing_ok=True)
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table)]).writeto(path)


def write_stack_shard(path: Path, stars: Table) -> None:
    """Write reference stars as a shard of ``the_monster``: a ``SimpleCatalog`` with flags."""
    of_motion = {"pm_ra", "pm_dec", "parallax"}
    columns = [fits.Column("flags", "1X", array=np.zeros((len(stars), 1), bool))]
    for name in stars.colnames:
        values = np.asarray(stars[name])
        if name in ("ra", "dec"):
            name, values = f"coord_{name}", np.radians(values.astype(float))
        elif name.removesuffix("Err") in of_motion:
            values = values.astype(float) * _MAS
        elif name.endswith(("_flux", "_fluxErr")):
            name = f"monster_ComCam_{name}"
        if values.dtype.kind in "iuf":
            columns.append(fits.Column(name, "1K" if values.dtype.kind != "f" else "1D", array=values))
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header.update({"FLAGCOL": 1, "TFLAG1": "isolated", "AFW_TYPE": "SIMPLE"})
    hdu.header["HIERARCH REFCAT_FORMAT_VERSION"] = 2
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def write_stack_camera(path: Path, camera: Camera, detectors: Iterable[int]) -> None:
    """Write some detectors of a camera as ``afw.cameraGeom`` does."""
    from starlink import Ast

    archive = ArchiveWriter()
    scale = math.radians(camera.plate_scale_arcsec_per_mm / 3600)
    cubic, quintic = (*camera.distortion, 0.0, 0.0)[:2]
    # x (1 + c r^2 + q r^4), and the same of y.
    terms = [(1, 1, 0), (cubic, 3, 0), (cubic, 1, 2), (quintic, 5, 0), (2 * quintic, 3, 2), (quintic, 1, 4)]
    optics = Ast.PolyMap(
        [[scale * value, 1, i, j] for value, i, j in terms]
        + [[scale * value, 2, j, i] for value, i, j in terms]
    )
    maps = [_map_of(archive, "FieldAngle", "", optics)]
    chosen = [camera.detector(number) for number in detectors]
    maps += [_map_of(archive, "Pixels", one.name, _to_pixels(camera, one)) for one in chosen]
    transforms = archive.add("TransformMap", maps)
    rows = [{"detector": _detector(archive, one, transforms)} for one in chosen]
    about = {"name": camera.name, "pupilFactoryName": "p", "transformMap": transforms}
    archive.add("Camera", rows, [about])
    path.unlink(missing_ok=True)
    fits.HDUList([fits.PrimaryHDU(), *archive.hdus()]).writeto(path)


def _map_of(archive: ArchiveWriter, system: str, detector: str, mapping: Any) -> dict[str, Any]:
    identity = archive.add("TransformPoint2ToPoint2", [{"bytes": ast_transform(mapping)}])
    return {
        "fromSysName": "FocalPlane", "fromSysDetectorName": "", "toSysName": system,
        "toSysDetectorName": detector, "transform": identity,
    }  # fmt: skip


def _to_pixels(camera: Camera, detector: Detector) -> Any:
    from starlink import Ast

    turn = math.radians(detector.yaw_deg)
    per_mm = 1 / camera.pixel_mm
    cosine, sine = per_mm * math.cos(turn), per_mm * math.sin(turn)
    rotated = Ast.CmpMap(
        Ast.ShiftMap([-detector.x_mm, -detector.y_mm]),
        Ast.MatrixMap([[cosine, sine], [-sine, cosine]]),
        True,
    )
    return Ast.CmpMap(rotated, Ast.ShiftMap(list(detector.centre)), True)


def _detector(archive: ArchiveWriter, detector: Detector, transforms: int) -> int:
    row = {
        "name": detector.name, "id": detector.id, "type": 0, "serial": detector.serial, "bbox_min_x": 0,
        "bbox_min_y": 0, "bbox_max_x": detector.width - 1, "bbox_max_y": detector.height - 1,
        "physicalType": detector.vendor, "transformMap": transforms,
    }  # fmt: skip
    return archive.add("Detector", [row], [_amplifier(one) for one in detector.amplifiers])


def _amplifier(one: Amplifier) -> dict[str, Any]:
    height, width = one.raw_shape
    return {
        "flags": [True, one.flip_x, one.flip_y], "name": one.name.replace("Segment", "C"),
        "bbox_min_x": one.x0, "bbox_min_y": one.y0, "bbox_extent_x": one.columns, "bbox_extent_y": one.rows,
        "gain": one.gain, "saturation": one.saturation / one.gain, "readnoise": one.read_noise,
        "raw_bbox_min_x": 0, "raw_bbox_min_y": 0, "raw_bbox_extent_x": width, "raw_bbox_extent_y": height,
        "raw_databbox_min_x": one.serial_prescan, "raw_databbox_min_y": one.parallel_prescan,
        "raw_databbox_extent_x": one.columns, "raw_databbox_extent_y": one.rows,
    }  # fmt: skip
