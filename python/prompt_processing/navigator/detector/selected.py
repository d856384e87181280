"""The selected DiaSource: stamps of the images, the PSF and the kernel there, and its measurements."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import panel as pn
from bokeh.models import LinearColorMapper
from numpy.typing import NDArray

from ..layout import column, markup, wrapped_row
from ..text import escaped, facts, sexagesimal
from ..url_state import link
from .data import DetectorData
from .panels import ImagePanel, StampPanel
from .pixels import Region, Tile
from .stretch import greys

__all__ = ["SelectedSource"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

_STAMP = 41
_FACTS = (
    "x", "y", "snr", "psfFlux", "psfFluxErr", "apFlux", "scienceFlux", "templateFlux", "reliability",
    "extendedness", "isDipole", "isNegative", "band", "ssObjectId",
)  # fmt: skip


class SelectedSource:
    """Stamps and measurements of one DiaSource.

    Parameters
    ----------
    panels
        The large images, whose stretch the stamps have.
    """

    def __init__(self, panels: dict[str, ImagePanel]) -> None:
        self._panels = panels
        self._stamps: dict[str, StampPanel] = {}
        self._text = markup()
        self.content = column(self._text, visible=False)

    def _make_stamps(self) -> None:
        """Make the stamps, which most pages do not show and which take long to make."""
        self._stamps = {
            role: StampPanel(f"stamp-{role}", panel.mapper) for role, panel in self._panels.items()
        }
        for name in ("PSF", "kernel"):
            self._stamps[name] = StampPanel(
                f"stamp-{name}", LinearColorMapper(palette=greys("asinh"), low=0.0, high=1.0)
            )
        stamps = [
            column(
                markup(role, margin=(0, 2)),
                pn.pane.Bokeh(stamp.figure, margin=2),
                width=160,
                sizing_mode=None,
            )
            for role, stamp in self._stamps.items()
        ]
        self.content.objects = [self._text, wrapped_row(*stamps)]

    def show(self, data: DetectorData, chosen: int | None) -> None:
        """Show a source; nothing if the catalogue does not have it.

        Raises
        ------
        OSError
            Raised if an image cannot be read.
        """
        table = data.sources
        row = None
        if table is not None and chosen is not None and {"x", "y", "diaSourceId"} <= set(table.colnames):
            found = [place for place, one in enumerate(table["diaSourceId"]) if int(one) == chosen]
            row = table[found[0]] if found else None
        self.content.visible = row is not None
        if row is None:
            return
        if not self._stamps:
            self._make_stamps()
        x, y = float(row["x"]), float(row["y"])
        half = _STAMP // 2
        region = Region(round(x) - half, round(x) + half, round(y) - half, round(y) + half)
        for role in ("science", "template", "difference"):
            image = data.images.get(role)
            self._stamps[role].show(None if image is None else image.tile(region, 2 * _STAMP))
        self._show_small("PSF", _psf(data, x, y))
        self._show_small("kernel", _kernel(data, x, y))
        self._text.object = _describe(row, chosen or 0)

    def _show_small(self, name: str, image: NDArray[Any] | None) -> None:
        stamp = self._stamps[name]
        if image is None:
            stamp.show(None)
            return
        rows, columns = image.shape
        stamp.mapper.update(low=float(min(image.min(), 0.0)), high=float(image.max()))
        stamp.show(Tile(image.astype(np.float32), -0.5, -0.5, columns, rows, 1))


def _psf(data: DetectorData, x: float, y: float) -> NDArray[Any] | None:
    image = data.images.get("science")
    if image is None:
        return None
    psf = image.sections.psf
    return None if psf is None else psf.image_at(x, y)


def _kernel(data: DetectorData, x: float, y: float) -> NDArray[Any] | None:
    if data.kernel is None:
        return None
    try:
        made = data.kernel.compute_kernel_image(x=x, y=y)
    except (AttributeError, TypeError, ValueError) as error:
        # A kernel of another version of lsst-images.
        _LOG.warning("Cannot draw the kernel: %s", error)
        return None
    return np.asarray(made.array)


def _describe(row: Any, chosen: int) -> str:
    links = [f'<a href="{escaped(link("object", source=chosen))}">source and packet</a>']
    number = row["diaObjectId"] if "diaObjectId" in row.colnames else None
    if number is not None and number is not np.ma.masked and int(number):
        links.append(f'<a href="{escaped(link("object", object=int(number)))}">object {int(number)}</a>')
    sky = ""
    if {"ra", "dec"} <= set(row.colnames):
        sky = sexagesimal(float(row["ra"]), float(row["dec"]))
    return f"<h2>DiaSource {chosen}</h2>{sky} &nbsp; {' &nbsp; '.join(links)}" + facts(
        {name: row[name] for name in _FACTS if name in row.colnames}
    )
