"""Measure gain, read noise, linearity, crosstalk and defects of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lsst.pex.config import RangeField
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections, Struct
from numpy.typing import NDArray

from prompt_processing.imaging.characterization.bad_pixels import DefectOptions, find_defects
from prompt_processing.imaging.characterization.crosstalk import measure_crosstalk
from prompt_processing.imaging.characterization.frames import amplifier_boxes
from prompt_processing.imaging.characterization.linearity import fit_linearity
from prompt_processing.imaging.characterization.photon_transfer import (
    FlatPair,
    fit_photon_transfer,
    measure_read_noise,
    pair_noise,
)
from prompt_processing.tasks.amplifier_tables import crosstalk_table, linearity_table, photon_transfer_table
from prompt_processing.tasks.calibration_connections import (
    CALIBRATION,
    calibration_input,
    calibration_output,
    camera_input,
    raw_inputs,
)
from prompt_processing.tasks.combine_calibrations import Handles, frames_of
from prompt_processing.tasks.numerics_task import NumericsTask, repeatable_failures

from ..images import Exposure
from ..instruments.camera import Camera
from ..instruments.headers import translate


class PhotonTransferConnections(PipelineTaskConnections, dimensions=CALIBRATION):
    """Raw biases and flats as inputs; gains and linearity as outputs."""

    raws = raw_inputs("Raw biases and flats.")
    camera = camera_input()
    bias = calibration_input("bias", "Combined bias.", minimum=0)
    photon_transfer = calibration_output(
        "photon_transfer", "Gain and read noise of the amplifiers.", "ArrowAstropy"
    )
    linearity = calibration_output("linearity", "Deviation of the amplifiers from linearity.", "ArrowAstropy")


class PhotonTransferConfig(PipelineTaskConfig, pipelineConnections=PhotonTransferConnections):
    """Selection of flats."""

    faintest = RangeField(dtype=float, doc="Least level of a flat, ADU.", default=300.0, min=1.0)


class PhotonTransferTask(NumericsTask):
    """Measure gain, read noise and linearity."""

    ConfigClass = PhotonTransferConfig
    _DefaultName = "photonTransfer"
    config: PhotonTransferConfig

    def run(self, raws: Handles, camera: Camera, bias: Exposure | None = None, **_: Any) -> Struct:
        """Compare equal flats with each other.

        Parameters
        ----------
        raws
            Handles of raws of one detector.
        camera
            Properties of the detectors; its values stay where none can be measured.
        bias
            Combined bias.

        Returns
        -------
        result
            ``photon_transfer``, ``linearity``: tables by amplifier.
        """
        biases: list[NDArray[np.float32]] = []
        flats: dict[tuple[str, float], list[NDArray[np.float32]]] = {}
        detector = None
        for raw, levelled in frames_of(raws):
            observation = translate(raw.header)
            detector = camera.detector(raw.detector)
            image = levelled.image if bias is None else levelled.image - bias.image
            if observation.observation_type == "bias":
                biases.append(image)
            elif float(np.median(image)) >= self.config.faintest:
                key = observation.physical_filter, round(observation.exposure_time, 4)
                flats.setdefault(key, []).append(image)
        if detector is None:
            raise ValueError("There are neither biases nor flats.")
        gains, linearity = {}, {}
        for amplifier in detector.amplifiers:
            box = amplifier.target_slices
            pairs = [pair for same in flats.values() for pair in _pairs([image[box] for image in same])]
            noise = (float("nan"), float("nan"))
            if len(biases) > 1:
                noise = measure_read_noise([image[box] for image in biases])
            gain = fit_photon_transfer(pairs, noise, amplifier.gain, amplifier.read_noise)
            gains[amplifier.name] = gain
            fullest = gain.full_well if np.isfinite(gain.full_well) else amplifier.saturation / gain.gain
            # Lamp and filter set the rate: only flats of one filter are comparable.
            commonest = max({key[0] for key in flats}, key=lambda name: _times(flats, name), default="")
            series = [
                (seconds, float(np.median(image[box])))
                for (name, seconds), same in flats.items()
                if name == commonest
                for image in same
            ]
            linearity[amplifier.name] = fit_linearity(
                [seconds for seconds, _ in series], [signal for _, signal in series], fullest
            )
        self.metadata["biases"], self.metadata["flats"] = len(biases), sum(map(len, flats.values()))
        self.metadata["nominal_amplifiers"] = sum(one.method == "nominal" for one in gains.values())
        for one in gains.values():
            if one.method == "nominal":
                self.log.warning("No pairs of flats: the gain stays nominal.")
                break
        return Struct(photon_transfer=photon_transfer_table(gains), linearity=linearity_table(linearity))


def _times(flats: dict[tuple[str, float], list[NDArray[np.float32]]], name: str) -> int:
    return len({seconds for filter_, seconds in flats if filter_ == name})


def _pairs(frames: Sequence[NDArray[np.float32]]) -> list[FlatPair]:
    """Pair frames of one exposure time, the most similar ones with each other."""
    ordered = sorted(frames, key=lambda frame: float(np.median(frame)))
    found = []
    for first, second in zip(ordered[::2], ordered[1::2], strict=False):
        try:
            found.append(pair_noise(first, second))
        except ValueError:
            # Too small an amplifier, or hardly a usable pixel.
            continue
    return found


class FindDefectsConnections(PipelineTaskConnections, dimensions=CALIBRATION):
    """Combined frames as inputs; defects as output."""

    camera = camera_input()
    bias = calibration_input("bias", "Combined bias.", minimum=0)
    dark = calibration_input("dark", "Combined dark.", minimum=0)
    flats = calibration_input("flat", "Combined flats.", by_filter=True, minimum=0, multiple=True)
    defects = calibration_output("defects", "Pixels that are always bad.", "Defects")


class FindDefectsConfig(PipelineTaskConfig, pipelineConnections=FindDefectsConnections):
    """Limits; see `~prompt_processing.imaging.characterization.bad_pixels.DefectOptions`."""

    hot = RangeField(dtype=float, doc="Least excess dark current, electrons/s.", default=5.0, min=0.0)
    dead = RangeField(dtype=float, doc="Response of a dead pixel.", default=0.6, min=0.0, max=1.0)


class FindDefectsTask(NumericsTask):
    """Find hot, dead and unsteady pixels, and bad columns."""

    ConfigClass = FindDefectsConfig
    _DefaultName = "findDefects"
    config: FindDefectsConfig

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: N802
        """Run one quantum; only the data id has the detector."""
        detector = int(butlerQC.quantum.dataId["detector"])
        with repeatable_failures():
            butlerQC.put(self.run(detector=detector, **butlerQC.get(inputRefs)), outputRefs)

    def run(
        self,
        detector: int,
        camera: Camera,
        bias: Exposure | None = None,
        dark: Exposure | None = None,
        flats: Sequence[Exposure] = (),
        **_: Any,
    ) -> Struct:
        """Find defects.

        Parameters
        ----------
        detector
            Id.
        camera
            Properties of the detectors.
        bias, dark
            Combined frames, ADU and ADU per second.
        flats
            Combined flats of all filters.

        Returns
        -------
        result
            ``defects``.
        """
        description = camera.detector(detector)
        electrons = None
        if dark is not None:
            electrons = dark.image.copy()
            for amplifier in description.amplifiers:
                electrons[amplifier.target_slices] *= np.float32(amplifier.gain)
        found = find_defects(
            amplifier_boxes(description),
            (description.height, description.width),
            None if bias is None else bias.image,
            electrons,
            [flat.image for flat in flats],
            DefectOptions(hot=self.config.hot, dead=self.config.dead),
        )
        for kind, count in found.counts.items():
            self.metadata[kind] = count
        self.metadata["pixels"] = int(found.mask.sum())
        self.metadata["fraction"] = float(found.mask.mean())
        return Struct(defects=found.defects)


class MeasureCrosstalkConnections(PipelineTaskConnections, dimensions=CALIBRATION):
    """Raws with bright sources as inputs; ratios as output."""

    raws = raw_inputs("Raws with bright sources.")
    crosstalk = calibration_output(
        "crosstalk_ratios", "Ratios of the amplifiers' signals that appear in the others.", "ArrowAstropy"
    )


class MeasureCrosstalkConfig(PipelineTaskConfig, pipelineConnections=MeasureCrosstalkConnections):
    """What counts as bright."""

    bright = RangeField(dtype=float, doc="Least signal above the background, ADU.", default=15_000.0, min=1.0)


class MeasureCrosstalkTask(NumericsTask):
    """Measure crosstalk."""

    ConfigClass = MeasureCrosstalkConfig
    _DefaultName = "measureCrosstalk"
    config: MeasureCrosstalkConfig

    def run(self, raws: Handles, **_: Any) -> Struct:
        """Compare the amplifiers' pixels that are read at the same time.

        Parameters
        ----------
        raws
            Handles of raws of one detector.

        Returns
        -------
        result
            ``crosstalk``: a row for each measured pair of amplifiers, perhaps none.
        """
        measured = measure_crosstalk([handle.get() for handle in raws], self.config.bright)
        if measured is None:
            from astropy.table import Table

            names = ("victim", "aggressor", "ratio", "error")
            return Struct(crosstalk=Table(names=names, dtype=("U16", "U16", float, float)))
        self.metadata["bright_pixels"] = [int(count) for count in measured.pixels]
        table = crosstalk_table(measured)
        self.metadata["measured_pairs"] = len(table)
        return Struct(crosstalk=table)
