"""Draft the folder of an instrument from real frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from prompt_processing.domain.errors import PromptError
from prompt_processing.instruments.description.instrument import (
    DESCRIPTION_FILE,
    Instrument,
    InstrumentError,
    read_instrument,
)

from .electronics import CENTRE, RoughElectronics, measure
from .filters import guess_filters
from .frames import Frame, read_frames
from .guess import Guess
from .guesses import guess_header, guess_recognition, guess_types
from .kinds import usual_types
from .optics import guess_optics, guess_site
from .positions import positions
from .structure import FoundAmplifier, FoundDetector, Structure, find_structure

__all__ = ["Draft", "DraftError", "draft_instrument"]

_PIPELINES = ("ApPipe.yaml", "Isr.yaml", "Preprocessing.yaml", "SingleFrame.yaml")
_ELECTRONICS = "electronics.csv"
_FULL_SCALE = {"uint16": 65535, "int16": 32767, "int32": 2**31 - 1, "float32": 65535}


class DraftError(PromptError):
    """No folder can be drafted; the message says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted instrument.

    Attributes
    ----------
    instrument
        The instrument, as its new description is read.
    to_confirm
        How to find out what was only guessed, by the path of the value.
    kinds
        Number of frames by kind.
    """

    instrument: Instrument
    to_confirm: Mapping[str, str]
    kinds: Mapping[str, int]


def draft_instrument(paths: Sequence[Path], folder: Path, name: str | None = None) -> Draft:
    """Draft the folder of an instrument.

    Parameters
    ----------
    paths
        Raw frames, best of several kinds: bias, dark, flat and science, two of each.
    folder
        New folder.
    name
        Short name of the instrument; by default that of the folder.

    Raises
    ------
    DraftError
        Raised if the folder exists and is not empty, or the name is unusable.
    RawFileError
        Raised if a frame is unreadable or has no image.
    """
    name = name or folder.resolve().name
    if not (name.isidentifier() and name.isascii()):
        raise DraftError(f"{name!r} is not a name of an instrument: letters, digits and _, first a letter.")
    if folder.exists() and any(folder.iterdir()):
        raise DraftError(f"{folder} is not empty.")
    frames = read_frames(paths)
    text, to_confirm, electronics = describe(frames, name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    if electronics:
        (folder / _ELECTRONICS).write_text(electronics, encoding="utf-8")
    pipelines = folder / "pipelines"
    pipelines.mkdir()
    for file in _PIPELINES:
        form = (resources.files(__package__) / "pipelines" / file).read_text(encoding="utf-8")
        (pipelines / file).write_text(form.replace("INSTRUMENT", name), encoding="utf-8")
    try:
        instrument = read_instrument(folder)
    except InstrumentError as error:
        raise DraftError(f"The draft needs your hand: {error.args[0]}") from error
    kinds: dict[str, int] = {}
    for frame in frames:
        kinds[frame.kind or "unknown"] = kinds.get(frame.kind or "unknown", 0) + 1
    return Draft(instrument, to_confirm, kinds)


def describe(frames: Sequence[Frame], name: str) -> tuple[str, dict[str, str], str]:
    """Describe an instrument by its frames.

    Returns
    -------
    text
        Content of ``instrument.yaml``.
    to_confirm
        How to find out what was only guessed, by the path of the value.
    electronics
        Content of ``electronics.csv``; empty for a camera of one detector.
    """
    structure = find_structure(frames)
    rules = guess_header(frames)
    if structure.has_own_files:
        # That of a file: the detectors of an exposure would have different ones.
        rules.pop("observation_id", None)
    optics = guess_optics(frames)
    filters = guess_filters(frames, rules["physical_filter"])
    types = guess_types(frames, rules["observation_type"])
    site = guess_site(frames)
    writer = _Writer()
    header = frames[0].header
    writer.line(f"name: {_flow(name)}")
    described = str(header.get("INSTRUME", "") or header.get("DETECTOR", "") or name).strip()
    writer.line(f"description: {_flow(described)}")
    recognised = guess_recognition(frames)
    writer.value("recognised_by", Guess([recognised.value], recognised.why, recognised.doubt))
    if site is None:
        writer.line("# site: {longitude_deg: ..., latitude_deg: ..., height_m: ...}")
        writer.doubt("site", "longitude (east positive), latitude and height of the telescope: a map")
    else:
        writer.value("site", site)
    writer.blank("Optics")
    for key in ("pixel_mm", "plate_scale_arcsec_per_mm", "parity_flipped_x"):
        writer.value(key, optics[key])
    writer.line(
        "# The distortion is not modelled; positions are padded by this fraction of the field radius."
    )
    writer.value("distortion_bound", Guess(0.002, "guessed"))
    electronics = _write_detectors(writer, frames, structure, optics["pixel_mm"].value)
    writer.blank("Filters: the band of each")
    writer.line("filters:")
    for filter_, band in {**filters, "unknown": Guess("unknown")}.items():
        writer.value(filter_, band, indent=2, path=f"filters.{filter_}")
    writer.blank("Headers: which keyword means what")
    writer.line("header:")
    writer.value("detector", structure.rule, indent=2, path="header.detector")
    for key, rule in rules.items():
        writer.value(key, rule, indent=2, path=f"header.{key}")
    if types:
        writer.line("image_types:")
        for text, kind in types.items():
            writer.value(text, Guess(kind), indent=2, path=f"image_types.{text}")
    missing = [kind for kind in ("bias", "dark", "flat", "science") if kind not in types.values()]
    if missing:
        if types:
            writer.line("  # Usual names of kinds that were not among the frames.")
            known = {text.lower() for text in types}
            for text, kind in usual_types(missing).items():
                if text not in known:
                    writer.line(f"  {_flow(text)}: {kind}")
        writer.doubt(
            "image_types", f"how headers name {', '.join(missing)} frames: none was among the frames"
        )
    for path, doubt in structure.doubts.items():
        writer.doubt(path, doubt)
    _write_raw(writer, frames, structure)
    return writer.text(), writer.doubts, electronics


def _write_detectors(writer: _Writer, frames: Sequence[Frame], structure: Structure, pixel_mm: float) -> str:
    """Write the detectors; return the table of the electronics of several."""
    kinds: dict[str, FoundDetector] = {}
    kind_of: dict[int, str] = {}
    for detector in structure.detectors:
        known = next((name for name, one in kinds.items() if _same_layout(one, detector)), None)
        kind_of[detector.id] = known or f"CCD{len(kinds) + 1}" if len(structure.detectors) > 1 else "CCD"
        kinds.setdefault(kind_of[detector.id], detector)
    brightest = _brightest(structure.detectors[0].frames, structure.detectors[0].amplifiers[0])
    writer.blank(
        "Detectors and amplifiers; gain in electrons per ADU, read noise and saturation in electrons"
    )
    writer.line("amplifier_kinds:")
    for kind, detector in kinds.items():
        writer.line(f"  {kind}:")
        writer.line(f"    columns: {detector.width}")
        writer.line(f"    rows: {detector.height}")
        writer.line("    amplifiers:")
        for amplifier in detector.amplifiers:
            writer.line(f"      - name: {_flow(amplifier.name)}")
            if amplifier.hdu:
                writer.line(f"        hdu: {amplifier.hdu}")
            for section, text in amplifier.sections.items():
                writer.line(f'        {section}: "{text}"')
            if len(structure.detectors) == 1:
                for key, guess in _values(frames, amplifier, brightest).items():
                    writer.value(key, guess, indent=8, path=f"amplifier_kinds.{kind}.amplifiers.{key}")
    rows = []
    if len(structure.detectors) > 1:
        writer.line(f"electronics: {_ELECTRONICS}")
        rows.append("detector,amplifier,gain,read_noise,saturation")
        for detector in structure.detectors:
            for amplifier in detector.amplifiers:
                values = _values(detector.frames, amplifier, brightest)
                for key, guess in values.items():
                    if guess.doubt:
                        writer.doubt(f"electronics.{key}", guess.doubt)
                numbers = ",".join(f"{guess.value:g}" for guess in values.values())
                rows.append(f"{detector.id},{amplifier.name},{numbers}")
    writer.line("detectors:")
    for detector, (x, y) in zip(structure.detectors, positions(structure.detectors, pixel_mm), strict=True):
        entry = {"id": detector.id, "name": detector.name, "kind": kind_of[detector.id], "x_mm": x, "y_mm": y}
        writer.line(f"  - {_flow(entry)}")
    return "".join(f"{row}\n" for row in rows)


def _same_layout(one: FoundDetector, other: FoundDetector) -> bool:
    return (one.width, one.height, [(a.name, a.hdu, dict(a.sections)) for a in one.amplifiers]) == (
        other.width,
        other.height,
        [(a.name, a.hdu, dict(a.sections)) for a in other.amplifiers],
    )


def _values(frames: Sequence[Frame], amplifier: FoundAmplifier, brightest: float) -> dict[str, Guess]:
    """Return gain, read noise and saturation: of the header, measured, or guessed."""
    rough = measure(frames, lambda frame: amplifier.centre(frame, CENTRE))
    gain = _gain(amplifier, rough)
    read_noise = _read_noise(amplifier, rough, gain.value)
    if amplifier.saturation_adu is not None:
        saturation = Guess(round(amplifier.saturation_adu * gain.value), "the header's, times the gain")
    else:
        limit = _FULL_SCALE[frames[0].images[0].pixel_type]
        adu = min(limit, brightest) if brightest > 0.9 * 65535 else min(limit, 65535)
        saturation = Guess(
            round(0.95 * adu * gain.value),
            f"guessed: 95 % of {adu:.0f} ADU",
            "the level at which bright stars are flat-topped, times the gain",
        )
    return {"gain": gain, "read_noise": read_noise, "saturation": saturation}


def _gain(amplifier: FoundAmplifier, rough: RoughElectronics) -> Guess:
    if rough.gain is not None and 0.01 < rough.gain < 100:
        measured = float(f"{rough.gain:.3g}")
        if amplifier.gain is None:
            return Guess(measured, "measured from two flat frames; `prompt calibrations build` refines it")
        if abs(rough.gain / amplifier.gain - 1) < 0.15:
            return Guess(amplifier.gain, f"the header's; two flat frames give {measured:g}")
        return Guess(
            measured,
            f"measured from two flat frames; the header has {amplifier.gain:g}",
            f"why the header's gain of {amplifier.gain:g} differs from the measured one",
        )
    if amplifier.gain is not None:
        return Guess(
            amplifier.gain, "the header's", "the gain: give `instrument new` two flat and two bias frames"
        )
    return Guess(
        1.0, "not known", "the gain: `prompt calibrations build` measures it from pairs of flat frames"
    )


def _read_noise(amplifier: FoundAmplifier, rough: RoughElectronics, gain: float) -> Guess:
    if rough.read_noise_adu is not None:
        return Guess(
            float(f"{rough.read_noise_adu * gain:.3g}"),
            f"{rough.read_noise_adu:.3g} ADU, measured from two bias frames",
        )
    if amplifier.read_noise is not None:
        return Guess(amplifier.read_noise, "the header's")
    return Guess(
        10.0, "not known", "the read noise: `prompt calibrations build` measures it from pairs of bias frames"
    )


def _brightest(frames: Sequence[Frame], amplifier: FoundAmplifier) -> float:
    for frame in frames:
        if frame.kind in (None, "science"):
            return float(np.nanmax(amplifier.centre(frame, 10**6)))
    return 0.0


def _write_raw(writer: _Writer, frames: Sequence[Frame], structure: Structure) -> None:
    frame = frames[0]
    image = frame.images[0]
    writer.blank("Form of the files")
    writer.line("raw:")
    writer.line("  layout: sections")
    writer.line(f"  pixel_type: {image.pixel_type}")
    writer.line(f"  largest_value: {_FULL_SCALE[image.pixel_type]}")
    level = next(
        (float(np.median(frame.pixels(frame.images[0]))) for frame in frames if frame.kind == "bias"), None
    )
    if level is not None and level > 0:
        writer.line(f"  bias_level: [{math.floor(0.98 * level)}, {math.ceil(1.02 * level)}]")
    if frame.compressed:
        writer.line("  compressed: true")
    if image.hdu > 0 and not (frame.compressed and len(frame.images) == 1):
        writer.line("  extensions: true")
    if len(structure.detectors) > 1 and not structure.has_own_files:
        writer.line('  detector_extension: "{name}"')
    if structure.section_keywords:
        writer.line(f"  section_keywords: {_flow(dict(structure.section_keywords))}")


class _Writer:
    """Lines of YAML with comments, and a list of what is in doubt."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.doubts: dict[str, str] = {}

    def line(self, text: str) -> None:
        self._lines.append(text)

    def blank(self, comment: str) -> None:
        self._lines += ["", f"# {comment}."]

    def doubt(self, path: str, how: str) -> None:
        self.doubts[path] = how

    def value(self, key: str, guess: Guess, *, indent: int = 0, path: str | None = None) -> None:
        """Write a value; one that is only guessed is marked, and entered in the list."""
        comment = guess.why
        if guess.doubt:
            self.doubt(path or key, guess.doubt)
            comment = f"to confirm{': ' + comment if comment else ''}"
        text = f"{' ' * indent}{_flow(key)}: {_flow(guess.value)}"
        self._lines.append(f"{text}  # {comment}" if comment else text)

    def text(self) -> str:
        """Return the whole document."""
        first, *rest = self._lines
        head = [first]
        if self.doubts:
            head += [
                "# What was guessed, and how to find out. Delete each line when you know.",
                "to_confirm:",
                *(f"  {_flow(path)}: {_flow(how)}" for path, how in self.doubts.items()),
            ]
        return "\n".join([*head, *rest]) + "\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    ).strip()
    return text.removesuffix("\n...").removesuffix("...").strip()
