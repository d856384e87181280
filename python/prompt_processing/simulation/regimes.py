"""Named kinds of image pairs that are hard to subtract: sky, optics, detector and template."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["REGIMES", "FrameQuality", "Regime"]


@dataclass(frozen=True, slots=True)
class FrameQuality:
    """How one image was taken.

    Attributes
    ----------
    fwhm : `float`
        Seeing across the short axis of the PSF, pixels of this image.
    elongation : `float`
        Long axis of the PSF over its short one.
    trail : `float`
        Length of a guiding error, pixels.
    sky : `float`
        Electrons per pixel.
    depth : `float`
        Electrons from a source, in units of those in a frame of depth 1.
    gain : `float`
        Electrons per count.
    read_noise : `float`
        Electrons.
    full_well : `float`
        Electrons at which a pixel saturates and bleeds along its column.
    pedestal : `float`
        Counts that were not subtracted and that no header mentions.
    integers : `bool`
        Whether counts are rounded to unsigned 16-bit integers, and negative ones lost.
    gradient : `float`
        Change of the sky across the image, in units of the sky; scattered light adds as much in a patch.
    flat_error : `float`
        Relative error of the flat: dust rings, and a tenth of it from pixel to pixel.
    fixed_pattern : `float`
        Rms of the residue of bias and dark, in units of the noise of the sky.
    cosmic_rays : `float`
        Tracks per million pixels.
    cosmic_ray_sigma : `float`
        Width of a track's charge cloud, pixels.
    hot_pixels : `float`
        Share of the pixels that hold up to a hundred times the noise, in no mask.
    dark_columns : `int`
        Partial columns that respond to half of the light, in no mask.
    resampled : `bool`
        Whether the image was interpolated by half a pixel, which correlates its noise.
    tells_gain : `bool`
        Whether the header has gain and read noise.
    """

    fwhm: float = 4.0
    elongation: float = 1.05
    trail: float = 0.0
    sky: float = 600.0
    depth: float = 1.0
    gain: float = 1.5
    read_noise: float = 6.0
    full_well: float = 80_000.0
    pedestal: float = 0.0
    integers: bool = False
    gradient: float = 0.0
    flat_error: float = 0.0
    fixed_pattern: float = 0.0
    cosmic_rays: float = 40.0
    cosmic_ray_sigma: float = 0.4
    hot_pixels: float = 0.0
    dark_columns: int = 0
    resampled: bool = False
    tells_gain: bool = True


@dataclass(frozen=True, slots=True)
class Regime:
    """A kind of image pair.

    Attributes
    ----------
    what : `str`
        What makes it hard.
    science, template : `FrameQuality`
        How the images were taken.
    stars, galaxies : `float`
        Sources per million pixels of the science image.
    halos : `int`
        Stars so bright that they saturate and show a halo.
    large_galaxy : `bool`
        Whether a galaxy fills the frame.
    shift : `tuple` of `float`
        Offset of the template, pixels of the science image.
    rotation : `float`
        Of the template, degrees.
    mirrored : `bool`
        Whether the template is a mirror image.
    scale : `float`
        Template pixels per science pixel.
    colours : `float`
        Scatter of the stars' flux ratios between the images, magnitudes.
    aligned : `bool`
        Whether the headers have a WCS.
    """

    what: str
    science: FrameQuality = field(default_factory=FrameQuality)
    template: FrameQuality = field(default_factory=lambda: FrameQuality(fwhm=3.5, depth=2.0, sky=1200.0))
    stars: float = 900.0
    galaxies: float = 250.0
    halos: int = 0
    large_galaxy: bool = False
    shift: tuple[float, float] = (7.3, -11.6)
    rotation: float = 0.0
    mirrored: bool = False
    scale: float = 1.0
    colours: float = 0.0
    aligned: bool = True


def _both(what: str, fwhms: tuple[float, float] = (4.0, 3.5), **quality: Any) -> Regime:
    """Return a regime in which both images have the same fault."""
    base = Regime(what)
    return replace(
        base,
        science=replace(base.science, fwhm=fwhms[0], **quality),
        template=replace(base.template, fwhm=fwhms[1], **quality),
    )


REGIMES: dict[str, Regime] = {
    "plain": Regime("nothing"),
    "crowded": Regime("blends dominate", stars=20_000.0, galaxies=0.0),
    "sparse": Regime("a handful of stars", stars=30.0, galaxies=100.0),
    "galaxies only": Regime("no stars", stars=0.0, galaxies=700.0),
    "large galaxy": Regime("a galaxy fills the frame", stars=200.0, large_galaxy=True),
    "halos": Regime("saturated stars with halos", halos=3, stars=600.0),
    "cosmic rays": _both("cosmic rays, dense and as wide as stars", cosmic_rays=600.0, cosmic_ray_sigma=1.1),
    "elongated": Regime("elongated PSF", science=FrameQuality(fwhm=3.6, elongation=1.7)),
    "trailed": Regime("guiding error", science=FrameQuality(fwhm=3.0, trail=5.0)),
    "undersampled": _both("seeing of 1.6 pixels", (1.6, 1.7), elongation=1.0),
    "oversampled": replace(
        _both("seeing of 20 pixels", (20.0, 17.0), sky=150.0, cosmic_rays=10.0), stars=250.0, galaxies=30.0
    ),
    "hot pixels": _both("hot pixels and dark columns in no mask", hot_pixels=5e-4, dark_columns=4),
    "hot pixels, sharp": _both(
        "the same, with a seeing of 2.2 pixels", (2.2, 2.0), hot_pixels=5e-4, dark_columns=4
    ),
    "fixed pattern": _both("residue of bias and dark", fixed_pattern=0.4),
    "flats": _both("imperfect flats", flat_error=0.03),
    "pedestal": _both(
        "a pedestal that no header mentions, and no gain", pedestal=1000.0, tells_gain=False, integers=True
    ),
    "quantised": _both(
        "rounded and clipped counts", sky=12.0, gain=6.0, read_noise=3.0, integers=True, cosmic_rays=20.0
    ),
    "gradients": _both("gradients and scattered light", gradient=0.4),
    "rotated": Regime("template rotated by 37 degrees", rotation=37.0),
    "mirrored": Regime("template mirrored and rotated, headers without a WCS", rotation=180.0, mirrored=True,
                       aligned=False),
    "another camera": Regime(
        "template of another camera and band",
        template=FrameQuality(fwhm=4.8, elongation=1.15, depth=2.5, sky=300.0, gain=0.9, full_well=40_000.0),
        scale=1.43,
        rotation=-4.0,
        colours=0.05,
    ),
    "correlated noise": _both("resampled images", resampled=True),
}  # fmt: skip
"""Regimes by name. ``plain`` is what the others are compared with."""
