"""Calibrations, catalogues, cameras and sky maps in the layouts of the Rubin stack."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from lsst.sphgeom import ConvexPolygon, UnitVector3d
from numpy.typing import NDArray
from stack_files import ArchiveWriter, ast_transform, sky_map_pickle

from prompt_processing.images import SkyMap, Tract
from prompt_processing.images.afw.calibrations import (
    read_crosstalk,
    read_isr_calibration,
    read_linearizer,
    read_photon_transfer,
)
from prompt_processing.images.afw.camera import read_camera
from prompt_processing.images.afw.defects import read_defects
from prompt_processing.images.afw.errors import StackFileError
from prompt_processing.images.afw.sky_map import read_sky_map
from prompt_processing.images.afw.tables import read_catalogue, read_reference_catalogue
from prompt_processing.instruments.camera import load_camera


def write_table(path: Path, *tables: Table) -> Path:
    hdus = [fits.PrimaryHDU(), *(fits.table_to_hdu(table) for table in tables)]
    fits.HDUList(hdus).writeto(path)
    return path


def test_flags_of_a_catalogue_are_columns(tmp_path: Path) -> None:
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("flags", "2X", array=np.array([[True, False], [False, True]])),
            fits.Column("id", "1K", array=np.array([7, 8])),
            fits.Column("base_x", "1D", unit="pixel", array=np.array([1.5, 2.5])),
            fits.Column("footprint", "1J", array=np.array([1, 2])),
        ]
    )
    hdu.header.update(
        {"FLAGCOL": 1, "TFLAG1": "a_flag", "TFLAG2": "b_flag", "AR_HDU": 3, "AFW_TYPE": "SOURCE"}
    )
    path = tmp_path / "sources.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    table = read_catalogue(path)
    assert set(table.colnames) == {"a_flag", "b_flag", "id", "base_x"}
    assert list(table["b_flag"]) == [False, True]
    assert str(table["base_x"].unit) == "pix"
    assert table["base_x"].dtype.isnative
    assert table.meta["AFW_TYPE"] == "SOURCE"


def a_shard(path: Path, version: int | None = 2, **columns: Any) -> Path:
    values = {"id": [1, 2], "coord_ra": np.radians([10.0, 350.0]), "coord_dec": np.radians([-5.0, 5.0])}
    table = Table(values | columns)
    if version is not None:
        table.meta["REFCAT_FORMAT_VERSION"] = version
    return write_table(path, table)


def test_reference_catalogue_has_degrees_and_motions_of_the_sky(tmp_path: Path) -> None:
    mas = math.radians(1 / 3.6e6)
    shard = a_shard(
        tmp_path / "shard.fits",
        monster_ComCam_r_flux=[100.0, 200.0], monster_DES_r_flux=[1.0, 2.0],
        pm_ra=[3 * mas, 0.0], pm_dec=[-4 * mas, 0.0], parallax=[0.5 * mas, 0.0], epoch=[57388.0, 57388.0],
    )  # fmt: skip
    table = read_reference_catalogue(shard)
    np.testing.assert_allclose(table["ra"], [10.0, 350.0])
    np.testing.assert_allclose(table["dec"], [-5.0, 5.0])
    assert [table[name][0] for name in ("pm_ra", "pm_dec", "parallax")] == pytest.approx([3, -4, 0.5])
    assert (str(table["pm_ra"].unit), str(table["epoch"].unit)) == ("mas / yr", "d")
    assert list(table["monster_ComCam_r_flux"]) == [100.0, 200.0]
    # Pipelines look for the bands by these names.
    assert list(table["r_flux"]) == [100.0, 200.0]
    assert "g_flux" not in table.colnames


def test_old_reference_catalogue_is_in_janskys(tmp_path: Path) -> None:
    table = read_reference_catalogue(
        a_shard(tmp_path / "old.fits", None, r_flux=[1e-6, 2e-6], r_fluxSigma=[1e-8, 1e-8], pm_ra=[5.0, 5.0])
    )
    np.testing.assert_allclose(table["r_flux"], [1000.0, 2000.0])
    np.testing.assert_allclose(table["r_fluxErr"], 10.0)
    assert "pm_ra" not in table.colnames


def test_table_without_coordinates_is_no_reference_catalogue(tmp_path: Path) -> None:
    with pytest.raises(StackFileError, match="no coord_ra"):
        read_reference_catalogue(write_table(tmp_path / "t.fits", Table({"id": [1]})))


def test_defects_are_read_from_boxes_and_from_regions(tmp_path: Path) -> None:
    expected = [[10, 20, 3, 4], [7, 8, 1, 1], [0, 100, 4, 3]]
    boxes = Table(np.array(expected), names=["x0", "y0", "width", "height"])
    boxes.write(tmp_path / "boxes.ecsv")
    regions = Table(
        {
            "X": [12.0, 8.0, 2.5],
            "Y": [22.5, 9.0, 102.0],
            "SHAPE": ["BOX", "POINT", "ROTBOX"],
            "R": [[3.0, 4.0], [1.0, 1.0], [3.0, 4.0]],
            "ROTANG": [0.0, 0.0, 90.0],
        }
    )
    paths = [
        write_table(tmp_path / "boxes.fits", boxes),
        tmp_path / "boxes.ecsv",
        write_table(tmp_path / "regions.fits", regions),
    ]
    for path in paths:
        assert read_defects(path).boxes.tolist() == expected, path


def test_regions_that_are_no_boxes_are_refused(tmp_path: Path) -> None:
    circle = Table({"X": [12.0], "Y": [22.5], "SHAPE": ["CIRCLE"], "R": [[3.0, 0.0]], "ROTANG": [0.0]})
    with pytest.raises(StackFileError, match="CIRCLE"):
        read_defects(write_table(tmp_path / "circle.fits", circle))
    with pytest.raises(StackFileError, match="it has flux"):
        read_defects(write_table(tmp_path / "other.fits", Table({"flux": [1.0]})))
    # Such as the archive of an image, which has no defects because it is not of defects.
    with pytest.raises(StackFileError, match="it has row0"):
        read_defects(write_table(tmp_path / "empty.fits", Table({"row0": np.zeros(0, int)})))
    nothing = {name: np.zeros(0, int) for name in ("x0", "y0", "width", "height")}
    assert len(read_defects(write_table(tmp_path / "none.fits", Table(nothing))).boxes) == 0


def test_linearizer_is_read_by_amplifier(tmp_path: Path) -> None:
    table = Table(
        {
            "AMPLIFIER_NAME": ["C00", "C01"],
            "TYPE": ["Spline", "Polynomial"],
            "COEFFS": [[0.0, 1e4, 0.0, 5.0], [1e-7, 0.0, 0.0, 0.0]],
            "BBOX_X0": [0, 512],
        },
        meta={"OBSTYPE": "LINEARIZER", "LINEARITY_UNITS": "adu", "HAS_LINEARITY": True},
    )
    lookup = Table({"LOOKUP_VALUES": [[0.0, 1.0, 2.0]]})
    linearizer = read_linearizer(write_table(tmp_path / "l.fits", table, lookup))
    assert dict(linearizer.kind) == {"C00": "Spline", "C01": "Polynomial"}
    assert linearizer.coefficients["C00"].tolist() == [0.0, 1e4, 0.0, 5.0]
    assert linearizer.table is not None
    assert linearizer.table.tolist() == [[0.0, 1.0, 2.0]]
    with pytest.raises(StackFileError, match="no AMPLIFIER_NAME"):
        read_linearizer(write_table(tmp_path / "other.fits", Table({"x0": [1]})))


def test_photon_transfer_is_read_by_amplifier(tmp_path: Path) -> None:
    table = Table(
        {
            "AMPLIFIER_NAME": ["C00", "C01"], "GAIN": [1.5, np.nan], "NOISE": [6.0, 7.0],
            "PTC_TURNOFF": [9e4, np.nan], "BAD_AMPS": [["C01"], ["C01"]],
        },
        meta={"OBSTYPE": "PTC"},
    )  # fmt: skip
    transfer = read_photon_transfer(write_table(tmp_path / "ptc.fits", table))
    assert transfer.gain["C00"] == 1.5
    assert transfer.noise["C01"] == 7.0
    assert transfer.turnoff["C00"] == 9e4
    assert transfer.bad == {"C01"}


def test_crosstalk_is_a_matrix(tmp_path: Path) -> None:
    table = Table(
        {"CT_COEFFS": [[0.0, 1e-4, 2e-4, 0.0]], "CT_COEFFS_SQR": [[0.0, 1e-9, 0.0, 0.0]]},
        meta={"OBSTYPE": "CROSSTALK", "CROSSTALK_RATIOS_UNITS": "electron"},
    )
    others = Table({"IC_SOURCE_DET": ["R22_S12"], "IC_COEFFS": [[0.0, 0.0, 0.0, 3e-6]]})
    crosstalk = read_crosstalk(write_table(tmp_path / "c.fits", table, others))
    assert crosstalk.coefficients.tolist() == [[0.0, 1e-4], [2e-4, 0.0]]
    assert crosstalk.squared is not None
    assert crosstalk.squared[0, 1] == 1e-9
    assert crosstalk.between_detectors["R22_S12"][1, 1] == 3e-6
    assert crosstalk.unit == "electron"


def test_any_other_calibration_is_its_tables(tmp_path: Path) -> None:
    path = write_table(tmp_path / "cti.fits", Table({"X": [1.0]}, meta={"OBSTYPE": "CTI"}), Table({"Y": [2]}))
    found = read_isr_calibration(path)
    assert found.kind == "CTI"
    assert [table.colnames for table in found.tables] == [["X"], ["Y"]]


LSST_CELLS = """import lsst.skymap.ringsSkyMap
assert type(config)==lsst.skymap.ringsSkyMap.RingsSkyMapConfig, 'no'
config.tractBuilder['legacy'].patchBorder=77
config.tractBuilder['cells'].cellBorder=50
config.tractBuilder.name='cells'
config.tractOverlap=0.016666666666666666
config.pixelScale=0.2
config.projection='TAN'
config.rotation=0.0
config.numRings=120
config.raStart=0.0
"""


def vectors(region: ConvexPolygon) -> NDArray[np.float64]:
    return np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])


def test_sky_map_of_rings_has_the_stacks_patches() -> None:
    sky_map = read_sky_map(sky_map_pickle("RingsSkyMap", LSST_CELLS), "lsst_cells_v1", "skyMap")
    assert len(sky_map.tracts) == 18938
    assert (sky_map.patches_per_side, sky_map.patch_size, sky_map.patch_overlap) == (10, 3000, 200)
    # As a registry made by the stack has it.
    stack = [
        [-0.5402849117879783, -0.5596696640727061, -0.628380522622241],
        [-0.5379000327257127, -0.5619453185505524, -0.6283955869934124],
        [-0.5393184987505042, -0.5634490797441336, -0.6258280046793938],
        [-0.541703264208813, -0.5611734660404606, -0.6258130028671928],
    ]
    np.testing.assert_allclose(vectors(sky_map.patch_region(3534, 87)), stack, atol=1e-12)


def test_patch_of_an_all_sky_map_is_found_by_its_region() -> None:
    sky_map = read_sky_map(sky_map_pickle("RingsSkyMap", LSST_CELLS), "lsst_cells_v1", "skyMap")
    middle = np.array([-0.5398, -0.5616, -0.6271])
    around = ConvexPolygon([UnitVector3d(*(middle + step)) for step in 1e-5 * np.eye(3)])
    assert (3534, 87) in sky_map.find(around)


LEGACY = """config.tractBuilder['legacy'].patchInnerDimensions=[1000, 1000]
config.patchBorder=50
config.pixelScale=0.2
config.projection='TAN'
config.tractOverlap=0.0
config.raList=[10.0, 20.0]
config.decList=[1.0, 2.0]
config.radiusList=[0.1, 0.3]
"""


def test_discrete_sky_map_clips_patches_at_their_tract() -> None:
    sky_map = read_sky_map(sky_map_pickle("DiscreteSkyMap", LEGACY), "two", "skyMap")
    assert [tract.patches_per_side for tract in sky_map.tracts] == [4, 11]
    corner, inner = sky_map.patch_wcs(0, 0), sky_map.patch_wcs(0, 5)
    assert corner.pixel_shape == (1050, 1050)
    assert inner.pixel_shape == (1100, 1100)
    for patch, wcs in ((0, corner), (5, inner)):
        x, y = wcs.all_world2pix([[10.0, 1.0]], 0)[0]
        first = 0 if patch == 0 else 950
        # The tract has 2 x 1800 + 1 pixels before it grows to four patches.
        assert (x + first, y + first) == pytest.approx((1999.0, 1999.0))


def test_version_0_of_the_rings_keeps_its_numbers() -> None:
    config = LSST_CELLS.replace("numRings=120", "numRings=3")
    first, now = (
        read_sky_map(sky_map_pickle("RingsSkyMap", config, version), "m", "skyMap") for version in (0, 1)
    )
    assert len(first.tracts) == len(now.tracts)
    n_first_ring = sum(tract.dec == now.tracts[1].dec for tract in now.tracts)
    assert first.tracts[n_first_ring + 1].ra == now.tracts[1].ra
    assert first.tracts[n_first_ring + 1].dec == now.tracts[1].dec


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "posix.system|os.system"),
        (b"not a pickle", "cannot be read"),
        (sky_map_pickle("HealpixSkyMap", "config.nside=4"), "is a HealpixSkyMap"),
        (sky_map_pickle("RingsSkyMap", LSST_CELLS.replace("TAN", "STG")), "projection STG"),
        (sky_map_pickle("RingsSkyMap", LSST_CELLS.replace("=120", "=__import__('os')")), "unknown form"),
    ],
)
def test_other_pickles_are_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(StackFileError, match=message):
        read_sky_map(content, "m", "skyMap")


def test_own_sky_map_has_the_same_text_as_before() -> None:
    sky_map = SkyMap("m", 0.2, 100, 10, 2, (Tract(3, 10.0, -5.0),))
    assert '"tracts": [{"id": 3, "ra": 10.0, "dec": -5.0}]' in sky_map.to_json()
    assert "clipped" not in sky_map.to_json()
    assert SkyMap.from_json(sky_map.to_json()) == sky_map


def write_camera(path: Path, name: str, segment: str = "C10") -> None:
    """Write a camera of two detectors of one amplifier, at a scale of 20 arcsec/mm with distortion."""
    from starlink import Ast

    scale = math.radians(20.0 / 3600)
    optics = Ast.PolyMap([
        [scale, 1, 1, 0], [scale * 1e-7, 1, 3, 0], [scale * 1e-7, 1, 1, 2],
        [scale, 2, 0, 1], [scale * 1e-7, 2, 0, 3], [scale * 1e-7, 2, 2, 1],
    ])  # fmt: skip
    archive = ArchiveWriter()
    maps = [{
        "fromSysName": "FocalPlane", "fromSysDetectorName": "", "toSysName": "FieldAngle",
        "toSysDetectorName": "",
        "transform": archive.add("TransformPoint2ToPoint2", [{"bytes": ast_transform(optics)}]),
    }]  # fmt: skip
    places = [("R22_S11", 94, 0.0, 0.0, 0), ("R22_S12", 95, 42.0, 10.0, 90)]
    for detector, _, x_mm, y_mm, turn in places:
        cosine, sine = round(math.cos(math.radians(turn))), round(math.sin(math.radians(turn)))
        to_pixels = Ast.CmpMap(
            Ast.CmpMap(
                Ast.ShiftMap([-x_mm, -y_mm]),
                Ast.MatrixMap([[100.0 * cosine, 100.0 * sine], [-100.0 * sine, 100.0 * cosine]]),
                True,
            ),
            Ast.ShiftMap([255.5, 1000.5]),
            True,
        )
        maps.append({
            "fromSysName": "FocalPlane", "fromSysDetectorName": "", "toSysName": "Pixels",
            "toSysDetectorName": detector,
            "transform": archive.add("TransformPoint2ToPoint2", [{"bytes": ast_transform(to_pixels)}]),
        })  # fmt: skip
    transforms = archive.add("TransformMap", maps)
    amplifier = {
        "flags": [True, True, False], "name": segment, "bbox_min_x": 0, "bbox_min_y": 0, "bbox_extent_x": 512,
        "bbox_extent_y": 2002, "gain": 1.6, "saturation": 1e5, "readnoise": 5.5, "raw_bbox_min_x": 0,
        "raw_bbox_min_y": 0, "raw_bbox_extent_x": 576, "raw_bbox_extent_y": 2048, "raw_databbox_min_x": 10,
        "raw_databbox_min_y": 0, "raw_databbox_extent_x": 512, "raw_databbox_extent_y": 2002,
    }  # fmt: skip
    rows = []
    for detector, number, _, _, _ in places:
        row = {
            "name": detector, "id": number, "type": 0, "serial": "E2V-1", "bbox_min_x": 0, "bbox_min_y": 0,
            "bbox_max_x": 511, "bbox_max_y": 2001, "physicalType": "E2V", "transformMap": transforms,
        }  # fmt: skip
        rows.append({"detector": archive.add("Detector", [row], [amplifier])})
    archive.add("Camera", rows, [{"name": name, "pupilFactoryName": "p", "transformMap": transforms}])
    fits.HDUList([fits.PrimaryHDU(), *archive.hdus()]).writeto(path)


def test_camera_has_the_places_and_electronics_of_the_file(tmp_path: Path) -> None:
    write_camera(tmp_path / "camera.fits", "LSSTCam")
    camera = read_camera(tmp_path / "camera.fits")
    assert camera.plate_scale_arcsec_per_mm == pytest.approx(20.0)
    assert camera.distortion[0] == pytest.approx(1e-7, rel=1e-3)
    assert camera.pixel_mm == pytest.approx(0.01)
    known = load_camera("LSSTCam")
    assert (camera.filters, camera.parity_flipped_x) == (known.filters, known.parity_flipped_x)
    centre, beside = camera.detectors[94], camera.detectors[95]
    assert (centre.x_mm, centre.y_mm, centre.yaw_deg) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert (beside.x_mm, beside.y_mm, beside.yaw_deg) == pytest.approx((42.0, 10.0, 90.0))
    (amplifier,) = centre.amplifiers
    assert amplifier.name == "Segment10"
    assert (amplifier.gain, amplifier.read_noise, amplifier.saturation) == (1.6, 5.5, 1.6e5)
    assert (amplifier.serial_prescan, amplifier.serial_overscan, amplifier.parallel_overscan) == (10, 54, 46)
    assert (amplifier.flip_x, amplifier.flip_y) == (True, False)


def test_camera_of_unknown_name_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_camera(tmp_path / "camera.fits", "OtherCam", segment="A")
    camera = read_camera(tmp_path / "camera.fits")
    assert camera.name == "OtherCam"
    assert camera.detectors[94].amplifiers[0].name == "A"
    assert "OtherCam" in caplog.text


def test_file_without_camera_is_refused(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    archive.add("GaussianPsf", [{"dimensions_x": 3, "dimensions_y": 3, "sigma": 1.0}])
    fits.HDUList([fits.PrimaryHDU(), *archive.hdus()]).writeto(tmp_path / "other.fits")
    with pytest.raises(StackFileError, match="no camera"):
        read_camera(tmp_path / "other.fits")
