"""The view of objects: search, the history of one object, and the packets of its alerts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import panel as pn

from ..layout import BUTTON, column, markup, wrapped_row
from ..page import Page, View
from ..remarks.panel import RemarkPanel
from ..remarks.store import subject_of
from ..sources import Sources
from ..text import escaped, facts, number, sexagesimal, table
from ..url_state import link, read_id, with_changes
from .cutouts import cutouts_of_images, cutouts_of_packet, picture
from .export import FORMATS, export
from .light_curve import LightCurve
from .search import KINDS, Criteria, SearchError
from .sky import STYLE, sky_chart, stars_near
from .tree import tree

__all__ = ["ObjectState", "ObjectView"]

_ROWS = 200
_EPOCHS = 24
_LARGEST_PACKET = 5_000_000
_COLUMNS = (
    "midpointMjdTai",
    "visit",
    "detector",
    "band",
    "ra",
    "dec",
    "psfFlux",
    "psfFluxErr",
    "snr",
    "reliability",
)
_FACTS = ("nDiaSources", "firstDiaSourceMjdTai", "lastDiaSourceMjdTai")


@dataclass(frozen=True, slots=True)
class ObjectState:
    """State of the view.

    Attributes
    ----------
    source, object
        What is shown.
    ra, dec, radius, visit, detector, reliability, band, kind, brighter, since, until
        Search, as in `~prompt_processing.navigator.objects.search.Criteria`.
    """

    source: int | None = None
    object: int | None = None
    ra: float | None = None
    dec: float | None = None
    radius: float = 10.0
    visit: int | None = None
    detector: int | None = None
    reliability: float | None = None
    band: str = ""
    kind: str = ""
    brighter: float | None = None
    since: float | None = None
    until: float | None = None


_LABELS = {
    "source": "DiaSource",
    "object": "object",
    "ra": "RA (deg)",
    "dec": "Dec (deg)",
    "radius": "radius (″)",
    "visit": "visit",
    "detector": "detector",
    "reliability": "reliability ≥",
    "band": "band",
    "kind": "class",
    "brighter": "brighter than (mag)",
    "since": "since (MJD)",
    "until": "until (MJD)",
}


class ObjectView(View):
    """Sources and objects of the APDB, and their alerts."""

    name = "object"
    title = "Objects"
    state_type = ObjectState
    keys: ClassVar[Mapping[str, str]] = {"n": "next source", "p": "previous source"}

    def __init__(self, page: Page, sources: Sources, state: ObjectState) -> None:
        super().__init__(page, sources, state)
        self.state: ObjectState = state
        self._found = pd.DataFrame()
        self._inputs: dict[str, Any] = {
            name: pn.widgets.TextInput(
                label=label,
                value=_text(getattr(state, name)),
                width=185 if name in ("source", "object", "visit") else 105,
                margin=(2, 6),
            )
            for name, label in _LABELS.items()
        }
        kinds = {"all": "", **{one: one for one in KINDS}}
        self._inputs["kind"] = pn.widgets.Select(
            label=_LABELS["kind"],
            options=kinds,
            value=state.kind if state.kind in KINDS else "",
            width=105,
            margin=(2, 6),
        )
        search = pn.widgets.Button(label="Search", color="primary", width=90, margin=(22, 6, 2, 6))
        search.on_click(lambda event: self._on_search())
        for name, one in self._inputs.items():
            if name != "kind":
                # Enter in a field searches too.
                one.param.watch(lambda event: self._on_search(), "enter_pressed")
        self._curve = LightCurve()
        self._curve_legend = markup()
        self._curve_pane = column(
            self._curve_legend, pn.pane.Bokeh(self._curve.figure, sizing_mode="stretch_width"), visible=False
        )
        self._heading, self._cutouts, self._packet, self._table = markup(), markup(), markup(), markup()
        self._sky = markup()
        self._sky.stylesheets = [*self._sky.stylesheets, STYLE]
        self._files = wrapped_row(
            markup("Save the table:", sizing_mode=None, margin=(8, 6)),
            *[
                pn.widgets.FileDownload(
                    callback=lambda form=form: export(self._found, form),
                    filename=f"sources.{ending}",
                    label=form,
                    width=110,
                    margin=(2, 6),
                    stylesheets=[BUTTON],
                )
                for form, ending in FORMATS.items()
            ],
            visible=False,
        )
        self._remarks = RemarkPanel(sources.remarks, page.tell)
        self._layout = column(
            wrapped_row(*self._inputs.values(), search),
            self._heading,
            self._curve_pane,
            self._cutouts,
            self._sky,
            self._remarks.content,
            self._packet,
            self._files,
            self._table,
        )
        self._refresh()

    @property
    def content(self) -> Any:
        """The page."""
        return self._layout

    def on_key(self, key: str) -> None:
        """Show the next or previous source of the table."""
        if self._found.empty:
            return
        ids = [int(one) for one in self._found["diaSourceId"]]
        step = 1 if key == "n" else -1
        place = ids.index(self.state.source) + step if self.state.source in ids else 0
        if 0 <= place < len(ids):
            self.go(with_changes(self.state, source=ids[place]))
            self._inputs["source"].value = str(ids[place])
            self._try(self._show_packet)

    def _on_search(self) -> None:
        """Take what a user typed."""
        values: dict[str, Any] = {}
        for field in fields(ObjectState):
            text = self._inputs[field.name].value.strip()
            try:
                values[field.name] = _typed(field.name, text)
            except ValueError:
                self.page.tell(f"{_LABELS[field.name]}: {text[:40]!r} is not a number.")
                return
        self.page.tell()
        self.go(ObjectState(**values))
        self._try(self._refresh)

    def _try(self, action: Any) -> None:
        try:
            action()
        except self.sources.failures as error:
            self.page.tell(str(error))

    def _refresh(self) -> None:
        state = self.state
        self._heading.object = (
            "<h1>Objects</h1>Search by position, object or visit; the other fields narrow the search."
        )
        self._curve_pane.visible = self._files.visible = self._remarks.content.visible = False
        self._cutouts.object = self._sky.object = self._packet.object = self._table.object = ""
        apdb = self.sources.apdb()
        wanted = state.object
        if state.source is not None:
            one = apdb.source(state.source)
            if one.empty:
                raise SearchError(f"The APDB has no DiaSource {state.source}.")
            if wanted is None and state.ra is None and state.visit is None:
                wanted = next(
                    (int(one[name][0]) for name in ("diaObjectId", "ssObjectId") if one[name][0]), None
                )
            self._found = one
        if wanted is None and state.ra is None and state.visit is None and state.source is None:
            return
        if wanted is not None or state.ra is not None or state.visit is not None:
            criteria = Criteria(
                **{f.name: getattr(state, f.name) for f in fields(Criteria) if f.name != "object"},
                object=wanted,
            )
            self._found = apdb.sources(criteria)
        if wanted is not None:
            self._show_object(wanted)
        self._show_table()
        self._show_packet()

    def _show_object(self, wanted: int) -> None:
        apdb = self.sources.apdb()
        found = apdb.dia_object(wanted)
        forced = apdb.forced_sources(wanted)
        kind = "DiaObject" if len(found) else "Object"
        row = found.iloc[0] if len(found) else (self._found.iloc[0] if len(self._found) else None)
        head = f"<h1>{kind} {wanted}</h1>"
        if row is not None:
            ra, dec = float(row["ra"]), float(row["dec"])
            head += f"<p>{sexagesimal(ra, dec)} &nbsp; {ra:.6f} {dec:+.6f} &nbsp; {_outside(ra, dec)}</p>"
            head += facts({name: row[name] for name in _FACTS if name in row})
            self._show_sky(ra, dec)
        self._heading.object = head
        self._remarks.content.visible = self.sources.remarks.configured
        self._remarks.show("object", subject_of("object", id=wanted), f"object {wanted}")
        self._curve.show(self._found, forced)
        self._curve_legend.object = f"<small>{self._curve.legend}</small>"
        self._curve_pane.visible = bool(len(self._found) or len(forced))
        self._show_cutouts()

    def _show_sky(self, ra: float, dec: float) -> None:
        """Show the object among stars, if there is a repository that has some."""
        if self.sources.places.repository is None or self._found.empty:
            return
        last = self._found.iloc[0]
        try:
            stars, what = stars_near(self.sources, ra, dec, int(last["visit"]), int(last["detector"]))
        except self.sources.failures as error:
            self.page.tell(str(error))
            return
        positions = [(float(row["ra"]), float(row["dec"])) for _, row in self._found.head(_ROWS).iterrows()]
        self._sky.object = f"<h2>On the sky</h2>{sky_chart(ra, dec, stars, positions, what)}"

    def _show_cutouts(self) -> None:
        """Show the cutouts of the object's last epochs."""
        parts = []
        packets = self.sources.packets()
        for _, row in self._found.head(_EPOCHS).iterrows():
            source = int(row["diaSourceId"])
            alert = packets.read(source) if packets is not None else None
            found = cutouts_of_packet(alert) if alert is not None else {}
            if not found and self.sources.places.repository is not None:
                found = cutouts_of_images(
                    self.sources, int(row["visit"]), int(row["detector"]), float(row["x"]), float(row["y"])
                )
            if not found:
                continue
            when = f"MJD {float(row['midpointMjdTai']):.5f}, {escaped(row['band'])}"
            images = "".join(
                picture(found[role], f"{role}, {when}", symmetric=role == "difference")
                for role in ("science", "template", "difference")
                if role in found
            )
            address = escaped(link("object", object=self.state.object, source=source))
            parts.append(f'<figure>{images}<figcaption><a href="{address}">{when}</a></figcaption></figure>')
        if parts:
            self._cutouts.object = (
                f"<h2>Science, template and difference of the last {len(parts)} epochs</h2>"
                f'<div class="epochs">{"".join(parts)}</div>'
            )

    def _show_packet(self) -> None:
        self._packet.object = ""
        source = self.state.source
        packets = self.sources.packets()
        if source is None or packets is None:
            return
        alert = packets.read(source)
        path = packets.path(source)
        if alert is None or path is None:
            self._packet.object = f"<p>No alert packet of DiaSource {source} is in the folder of alerts.</p>"
            return
        content = path.read_bytes()
        download = ""
        if len(content) <= _LARGEST_PACKET:
            data = base64.b64encode(content).decode("ascii")
            address = f"data:application/octet-stream;base64,{data}"
            download = f'<a download="{source}.avro" href="{address}">as a file</a>'
        self._packet.object = (
            f"<h2>Alert of DiaSource {source} <small>{download}</small></h2>"
            f"<details><summary>packet</summary>{tree(alert)}</details>"
        )

    def _show_table(self) -> None:
        found = self._found
        self._files.visible = len(found) > 0
        shown = [name for name in _COLUMNS if name in found]
        rows = []
        for _, row in found.head(_ROWS).iterrows():
            source = int(row["diaSourceId"])
            visit, detector = row.get("visit"), row.get("detector")
            image = link("detector", visit=visit, detector=detector, source=source,
                         x=number(row.get("x"), 6), y=number(row.get("y"), 6), size=200)  # fmt: skip
            parent = row.get("diaObjectId") or row.get("ssObjectId")
            rows.append(
                [
                    f'<a href="{escaped(link("object", source=source))}">{source}</a>',
                    f'<a href="{escaped(link("object", object=parent))}">{escaped(parent)}</a>'
                    if parent
                    else "–",
                    *(
                        escaped(number(row[name], 8 if name in ("ra", "dec", "midpointMjdTai") else 4))
                        for name in shown
                    ),
                    f'<a href="{escaped(image)}">images</a>',
                ]
            )
        more = f" (the first {_ROWS} are shown; files have all)" if len(found) > _ROWS else ""
        self._table.object = table(
            ("DiaSource", "object", *shown, "images"), rows, f"{len(found)} DiaSources{more}"
        )


def _typed(name: str, text: str) -> Any:
    if name in ("band", "kind"):
        return text
    if not text:
        return 10.0 if name == "radius" else None
    if name in ("source", "object", "visit", "detector"):
        return read_id(text)
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(text)
    return value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _outside(ra: float, dec: float) -> str:
    """Return links to services on the sky; nothing is asked of them before a click."""
    addresses = {
        "Simbad": f"https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra:.6f}+{dec:+.6f}&Radius=10&Radius.unit=arcsec",
        "Legacy Survey": f"https://www.legacysurvey.org/viewer?ra={ra:.6f}&dec={dec:.6f}&zoom=15",
    }
    return " ".join(
        f'<a href="{escaped(address)}" target="_blank" rel="noopener noreferrer">{name}</a>'
        for name, address in addresses.items()
    )
