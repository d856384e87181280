"""Combine raw bias, dark, flat and fringe exposures into calibrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import RangeField
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections, Struct
from numpy.typing import NDArray

from prompt_processing.imaging.characterization.combine import CLIP, CombinedFrame, combine_frames
from prompt_processing.imaging.characterization.frames import LevelledFrame, level_frame
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.tasks.calibration_connections import (
    CALIBRATION,
    calibration_input,
    calibration_output,
    camera_input,
    raw_inputs,
)
from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure, Mask
from ..images.robust import MAD_TO_SIGMA
from ..instruments.camera import Camera, Detector
from ..instruments.headers import translate
from ..instruments.raw_frame import RawFrame

__all__ = ["CombineBiasTask", "CombineConfig", "CombineDarkTask", "CombineFlatTask", "Handles", "frames_of"]

Handles = Sequence[DeferredDatasetHandle]
"""Raws that are read one after the other."""


class CombineConfig(PipelineTaskConfig, pipelineConnections=PipelineTaskConnections):
    """Selection of frames."""

    clip = RangeField(
        dtype=float, doc="Significance of a value that is rejected.", default=CLIP, min=2.0, inclusiveMin=True
    )


class CombineBiasConnections(PipelineTaskConnections, dimensions=CALIBRATION):
    """Raw biases as inputs; their mean as output."""

    raws = raw_inputs("Raw biases.")
    camera = camera_input()
    bias = calibration_output("bias", "Bias structure, ADU.")


class CombineBiasConfig(CombineConfig, pipelineConnections=CombineBiasConnections):
    """Selection of biases."""


class CombineBiasTask(NumericsTask):
    """Combine biases."""

    ConfigClass = CombineBiasConfig
    _DefaultName = "combineBias"
    config: CombineBiasConfig

    def run(self, raws: Handles, camera: Camera, **_: Any) -> Struct:
        """Average biases.

        Parameters
        ----------
        raws
            Handles of raws of one detector.
        camera
            Properties of the detectors.

        Returns
        -------
        result
            ``bias``: ADU above the overscan, or with the whole level for a camera without one.
        """
        frames, exposures, detector = [], [], None
        for raw, levelled in frames_of(raws):
            frames.append(levelled.image)
            exposures.append(translate(raw.header).exposure_id)
            detector = camera.detector(raw.detector)
        combined = combine_frames(frames, noise=_read_noise_adu(detector, frames), clip=self.config.clip)
        bias = _exposure(combined, "adu", "bias")
        describe(self.metadata, exposures, combined, bias.image)
        return Struct(bias=bias)


class CombineDarkConnections(PipelineTaskConnections, dimensions=CALIBRATION):
    """Raw darks as inputs; the dark current as output."""

    raws = raw_inputs("Raw darks.")
    camera = camera_input()
    bias = calibration_input("bias", "Combined bias.", minimum=0)
    dark = calibration_output("dark", "Dark current, ADU per second.")


class CombineDarkConfig(CombineConfig, pipelineConnections=CombineDarkConnections):
    """Selection of darks."""

    shortest = RangeField(dtype=float, doc="Shortest exposure, seconds.", default=1.0, min=0.0)


class CombineDarkTask(NumericsTask):
    """Combine darks."""

    ConfigClass = CombineDarkConfig
    _DefaultName = "combineDark"
    config: CombineDarkConfig

    def run(self, raws: Handles, camera: Camera, bias: Exposure | None = None, **_: Any) -> Struct:
        """Average the dark current; longer exposures weigh as much as they know.

        Parameters
        ----------
        raws
            Handles of raws of one detector.
        camera
            Properties of the detectors.
        bias
            Combined bias.

        Returns
        -------
        result
            ``dark``: ADU per second.

        Raises
        ------
        UnusableCalibrationError
            Raised if all darks are too short.
        """
        frames, times, exposures, refused, detector = [], [], [], [], None
        for raw, levelled in frames_of(raws):
            observation = translate(raw.header)
            detector = camera.detector(raw.detector)
            if observation.dark_time < self.config.shortest:
                refused.append(f"{observation.exposure_id}: {observation.dark_time:g} s is too short")
                continue
            frames.append(levelled.image if bias is None else levelled.image - bias.image)
            times.append(observation.dark_time)
            exposures.append(observation.exposure_id)
        if not frames:
            raise UnusableCalibrationError("All darks are too short", darks=len(refused))
        # Frames much shorter than the others would only add noise.
        longest = max(times)
        kept = [number for number, seconds in enumerate(times) if seconds >= 0.3 * longest]
        refused += [
            f"{exposures[n]}: {times[n]:g} s is short beside {longest:g} s"
            for n in range(len(times))
            if n not in kept
        ]
        frames, exposures = [frames[n] for n in kept], [exposures[n] for n in kept]
        seconds = [times[n] for n in kept]
        noise = _read_noise_adu(detector, frames) / float(np.median(seconds))
        combined = combine_frames(frames, seconds, noise, self.config.clip)
        dark = _exposure(combined, "adu/s", "dark")
        describe(self.metadata, exposures, combined, dark.image, refused)
        self.metadata["seconds"] = [float(each) for each in seconds]
        return Struct(dark=dark)


class CombineFlatConnections(PipelineTaskConnections, dimensions=(*CALIBRATION, "physical_filter")):
    """Raw flats of a filter as inputs; the relative response as output."""

    raws = raw_inputs("Raw flats.")
    camera = camera_input()
    bias = calibration_input("bias", "Combined bias.", minimum=0)
    dark = calibration_input("dark", "Combined dark.", minimum=0)
    flat = calibration_output("flat", "Relative response of the pixels.", by_filter=True)


class CombineFlatConfig(CombineConfig, pipelineConnections=CombineFlatConnections):
    """Selection of flats."""

    faintest = RangeField(dtype=float, doc="Least level of a flat, ADU.", default=1000.0, min=1.0)
    saturation = RangeField(
        dtype=float, doc="Largest level, as a fraction of the saturation.", default=0.85, min=0.0, max=1.0
    )


class CombineFlatTask(NumericsTask):
    """Combine flats."""

    ConfigClass = CombineFlatConfig
    _DefaultName = "combineFlat"
    config: CombineFlatConfig

    def run(
        self,
        raws: Handles,
        camera: Camera,
        bias: Exposure | None = None,
        dark: Exposure | None = None,
        **_: Any,
    ) -> Struct:
        """Average flats, each scaled by its level.

        Parameters
        ----------
        raws
            Handles of raws of one detector and filter.
        camera
            Properties of the detectors, with measured gains: the flat also contains their errors.
        bias, dark
            Combined frames, ADU and ADU per second.

        Returns
        -------
        result
            ``flat``: response relative to the detector's median.

        Raises
        ------
        UnusableCalibrationError
            Raised if all flats are too faint or saturated.
        """
        frames, levels, exposures, refused, detector = [], [], [], [], None
        for raw, levelled in frames_of(raws):
            observation = translate(raw.header)
            detector = camera.detector(raw.detector)
            image = levelled.image
            if bias is not None:
                image -= bias.image
            if dark is not None:
                image -= dark.image * np.float32(observation.dark_time)
            level = float(np.median(image))
            if level < self.config.faintest:
                refused.append(f"{observation.exposure_id}: {level:.0f} ADU is too faint")
                continue
            if (share := _share_of_saturation(image, detector)) > self.config.saturation:
                refused.append(f"{observation.exposure_id}: {share:.0%} of the saturation")
                continue
            electrons = _in_electrons(image, detector)
            frames.append(electrons)
            levels.append(float(np.median(electrons)))
            exposures.append(observation.exposure_id)
        if not frames or detector is None:
            raise UnusableCalibrationError(
                "All flats are too faint or saturated", flats=len(refused), first=(refused or ["none"])[0]
            )
        brightest = max(levels)
        kept = [number for number, level in enumerate(levels) if level >= 0.3 * brightest]
        refused += [f"{exposures[n]}: faint beside the others" for n in range(len(levels)) if n not in kept]
        chosen = [levels[n] for n in kept]
        noise = float(1.0 / np.sqrt(np.median(chosen)))
        combined = combine_frames([frames[n] for n in kept], chosen, noise, self.config.clip)
        flat = _exposure(combined, "", "flat")
        middle = np.float32(np.nanmedian(flat.image))
        flat.image /= middle
        flat.variance /= middle**2
        describe(self.metadata, [exposures[n] for n in kept], combined, flat.image, refused)
        self.metadata["levels_electrons"] = [float(level) for level in chosen]
        return Struct(flat=flat)


def frames_of(raws: Handles) -> Iterator[tuple[RawFrame, LevelledFrame]]:
    """Read raws one after the other, in the order of their exposures."""
    for handle in sorted(raws, key=lambda handle: int(handle.dataId["exposure"])):
        raw: RawFrame = handle.get()
        yield raw, level_frame(raw)


def describe(
    metadata: Any,
    exposures: Sequence[int],
    combined: CombinedFrame,
    image: NDArray[np.float32],
    refused: Sequence[str] = (),
) -> None:
    """Record what a calibration was made of, for the page that is checked before it is certified."""
    metadata["frames"] = len(exposures)
    metadata["exposures"] = [int(exposure) for exposure in exposures]
    metadata["scales"] = [float(scale) for scale in combined.scales]
    metadata["rejected_fraction"] = [float(part) for part in combined.rejected]
    metadata["refused"] = list(refused)
    finite = image[np.isfinite(image)]
    low, middle, high = np.percentile(finite, [1, 50, 99]) if finite.size else (np.nan,) * 3
    metadata["median"], metadata["percentile_1"], metadata["percentile_99"] = (
        float(middle), float(low), float(high),
    )  # fmt: skip
    metadata["noise"] = float(np.sqrt(np.nanmedian(combined.variance)))
    metadata["pixels_without_value"] = int(image.size - finite.size)


def _exposure(combined: CombinedFrame, unit: str, kind: str) -> Exposure:
    metadata = {"OBSTYPE": kind} | ({"BUNIT": unit} if unit else {})
    mask = np.where(np.isfinite(combined.image), 0, int(Mask.BAD | Mask.NO_DATA)).astype(np.int32)
    image = np.nan_to_num(combined.image, nan=0.0).astype(np.float32)
    return Exposure(image, mask, np.nan_to_num(combined.variance).astype(np.float32), metadata=metadata)


def _read_noise_adu(detector: Detector | None, frames: Sequence[NDArray[np.float32]]) -> float:
    """Return the noise of a pixel, from two frames where there are two."""
    if len(frames) > 1:
        difference = frames[1] - frames[0]
        middle = np.median(difference)
        return float(MAD_TO_SIGMA * np.median(np.abs(difference - middle)) / np.sqrt(2))
    if detector is None:
        return 0.0
    return max(amplifier.read_noise / amplifier.gain for amplifier in detector.amplifiers)


def _share_of_saturation(image: NDArray[np.float32], detector: Detector) -> float:
    """Return the largest ratio of an amplifier's median to its saturation."""
    return max(
        float(np.median(image[amplifier.target_slices])) * amplifier.gain / amplifier.saturation
        for amplifier in detector.amplifiers
    )


def _in_electrons(image: NDArray[np.float32], detector: Detector) -> NDArray[np.float32]:
    electrons = image.copy()
    for amplifier in detector.amplifiers:
        electrons[amplifier.target_slices] *= np.float32(amplifier.gain)
    return electrons
