"""The unit of the pixels and the frame of the WCS change neither what is found nor where it is."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from prompt_processing.difference import difference_images


def galactic_header(wcs):
    """Return the keywords of a gnomonic WCS in galactic coordinates, with latitude on the first axis."""
    ra, dec = wcs.wcs.crval
    centre = SkyCoord(ra, dec, unit="deg")
    there = centre.galactic
    north = centre.directional_offset_by(0, 1e-4 * wcs.wcs.cunit[0]).galactic
    angle = there.position_angle(north).rad
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    cd = turn @ wcs.pixel_scale_matrix
    header = fits.Header()
    for row, (name, value) in enumerate((("GLAT-TAN", there.b.deg), ("GLON-TAN", there.l.deg)), 1):
        header[f"CTYPE{row}"], header[f"CRVAL{row}"] = name, value
        header[f"CRPIX{row}"] = wcs.wcs.crpix[row - 1]
        header[f"CD{row}_1"], header[f"CD{row}_2"] = cd[2 - row]
    return header


def test_pair_in_tiny_units_and_galactic_coordinates_is_subtracted_as_any(same_grid, write_pair):
    files = write_pair(same_grid)
    scales = {files.science: 1e-24, files.template: 3e-17}
    for path, scale in scales.items():
        with fits.open(path) as hdus:
            image, wcs = hdus[0].data, WCS(hdus[0].header)
        header = galactic_header(wcs) if path == files.science else wcs.to_header()
        header["BUNIT"] = "erg/s/cm2"
        fits.writeto(path, image.astype(np.float64) * scale, header, overwrite=True)
    result = difference_images(files.science, files.template)
    assert result.summary["fluxRatio"] == pytest.approx(
        scales[files.science] / scales[files.template], rel=0.04
    )
    assert result.summary["scienceSky"] == pytest.approx(800e-24, rel=0.02)
    truth = same_grid.truth
    bright = truth[np.abs(truth["snr"]) > 15]
    x, y = (np.asarray(bright[name]) for name in "xy")
    inside = (x > 10) & (y > 10) & (x < 630) & (y < 630)
    tree = cKDTree(np.column_stack([result.sources["x"], result.sources["y"]]))
    distance, row = tree.query(np.column_stack([x, y])[inside])
    assert np.mean(distance < 1) > 0.9
    near = result.sources[row[distance < 1]]
    assert (np.asarray(near["reliability"]) > 0.5).mean() > 0.8
    # 1.7 electrons a nJy, 2 a unit of the file.
    expected = np.asarray(bright["delta_flux"])[inside][distance < 1] * 1.7 / 2 * 1e-24
    assert np.median(np.asarray(near["psfFlux"]) / expected) == pytest.approx(1, abs=0.03)
    ra, dec = same_grid.science.wcs.all_pix2world(near["x"], near["y"], 0)
    there = SkyCoord(near["ra"], near["dec"], unit="deg")
    assert there.separation(SkyCoord(ra, dec, unit="deg")).arcsec.max() < 0.02
    assert np.nanmax(result.difference.variance) < 1e-44
    assert (result.difference.variance > 0).mean() > 0.9
