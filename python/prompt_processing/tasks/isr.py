"""Remove the instrument signature: from a raw to an image in electrons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field
from lsst.pipe.base import (
    InMemoryDatasetHandle,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)
from numpy.typing import NDArray

from prompt_processing.imaging.isr.linearity import Linearity
from prompt_processing.tasks.amplifier_tables import crosstalk_of, linearity_of
from prompt_processing.tasks.calibration_connections import calibration_input, camera_input
from prompt_processing.tasks.numerics_task import NumericsTask
from prompt_processing.tasks.stack_calibrations import (
    brighter_fatter_kernel,
    crosstalk_ratios,
    deferred_charge,
    linearity_of_stack,
    with_gain_correction,
    with_photon_transfer,
)

from ..images import Defects, Exposure, VisitInfo
from ..instruments.camera import Camera, Detector
from ..instruments.geometry import detector_wcs
from ..instruments.headers import translate
from ..instruments.raw_frame import RawFrame


class IsrConnections(PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    """A raw and its calibrations as inputs; an image as output."""

    raw = connectionTypes.Input(
        doc="Raw image.",
        name="raw",
        storageClass="Exposure",
        dimensions=("instrument", "exposure", "detector"),
    )
    camera = camera_input()
    bias = calibration_input("bias", "Bias structure.")
    dark = calibration_input("dark", "Dark current in one second.")
    flat = calibration_input("flat", "Relative response of the pixels.", by_filter=True)
    defects = calibration_input("defects", "Pixels that are always bad.", "Defects")
    linearity = calibration_input(
        "linearity", "Deviation of the amplifiers from linearity.", "ArrowAstropy", minimum=0
    )
    crosstalk = calibration_input(
        "crosstalk_ratios",
        "Ratios of the amplifiers' signals that appear in the others.",
        "ArrowAstropy",
        minimum=0,
    )
    fringe = calibration_input(
        "fringe", "Fringes of the night sky, relative to the sky.", by_filter=True, minimum=0
    )
    brighter_fatter = calibration_input(
        "brighter_fatter_kernel", "Kernel of the brighter-fatter effect.", minimum=0
    )
    # Those of the Rubin stack. A file that cannot be read stops no visit.
    ptc = calibration_input(
        "ptc", "Gains and read noise.", "PhotonTransferCurveDataset", minimum=0, defer=True
    )
    gain_correction = calibration_input(
        "gain_correction", "Factors of the gains.", "IsrCalib", minimum=0, defer=True
    )
    cti = calibration_input("cti", "Charge that arrives late.", "IsrCalib", minimum=0, defer=True)
    stack_crosstalk = calibration_input(
        "crosstalk", "Coefficients of crosstalk.", "CrosstalkCalib", minimum=0, defer=True
    )
    linearizer = calibration_input(
        "linearizer", "Deviation of the amplifiers from linearity.", "Linearizer", minimum=0, defer=True
    )
    bfk = calibration_input(
        "bfk", "Kernels of the brighter-fatter effect.", "BrighterFatterKernel", minimum=0, defer=True
    )
    image = connectionTypes.Output(
        doc="Assembled image without instrument signature, electrons.",
        name="post_isr_image",
        storageClass="ExposureF",
        dimensions=("instrument", "exposure", "detector"),
    )

    def __init__(self, *, config: IsrConfig | None = None) -> None:
        if config is None:
            return
        for wanted, name in (
            (config.doBias, "bias"),
            (config.doDark, "dark"),
            (config.doFlat, "flat"),
            (config.doDefect, "defects"),
            (config.doLinearity, "linearity"),
            (config.doLinearity, "linearizer"),
            (config.doCrosstalk, "crosstalk"),
            (config.doCrosstalk, "stack_crosstalk"),
            (config.doFringe, "fringe"),
            (config.doBrighterFatter, "brighter_fatter"),
            (config.doGains, "ptc"),
            (config.doGains, "gain_correction"),
            (config.doDeferredCharge, "cti"),
            (config.doBrighterFatter, "bfk"),
        ):
            if not wanted:
                delattr(self, name)
            elif config.allowMissing:
                setattr(self, name, replace(getattr(self, name), minimum=0))


class IsrConfig(PipelineTaskConfig, pipelineConnections=IsrConnections):
    """Corrections to apply."""

    doBias = Field[bool](doc="Subtract the bias structure.", default=True)
    doDark = Field[bool](doc="Subtract the dark current.", default=True)
    doFlat = Field[bool](doc="Divide by the flat.", default=True)
    doDefect = Field[bool](doc="Mask defects.", default=True)
    doLinearity = Field[bool](doc="Make the amplifiers linear, if a correction exists.", default=True)
    doCrosstalk = Field[bool](doc="Remove crosstalk, if ratios exist.", default=True)
    doFringe = Field[bool](doc="Subtract fringes, if a pattern exists.", default=True)
    doBrighterFatter = Field[bool](doc="Undo the brighter-fatter effect, if a kernel exists.", default=False)
    doGains = Field[bool](
        doc="Use the gains and read noise of `ptc` and the factors of `gain_correction`, where they exist.",
        default=True,
    )
    doDeferredCharge = Field[bool](doc="Put deferred charge back, if `cti` exists.", default=True)
    allowMissing = Field[bool](
        doc="Process images without those calibrations that do not exist; the metadata names them.",
        default=False,
    )
    doCosmicRays = Field[bool](doc="Look for cosmic rays before the PSF is known.", default=True)


class IsrTask(NumericsTask):
    """Remove the instrument's signature."""

    ConfigClass = IsrConfig
    _DefaultName = "isr"
    config: IsrConfig

    def run(
        self,
        raw: RawFrame,
        camera: Camera,
        bias: Exposure | None = None,
        dark: Exposure | None = None,
        flat: Exposure | None = None,
        defects: Defects | None = None,
        linearity: Table | None = None,
        crosstalk: Table | None = None,
        fringe: Exposure | None = None,
        brighter_fatter: Exposure | None = None,
        ptc: Any = None,
        gain_correction: Any = None,
        cti: Any = None,
        stack_crosstalk: Any = None,
        linearizer: Any = None,
        bfk: Any = None,
        **_: Any,
    ) -> Struct:
        """Correct a raw.

        Parameters
        ----------
        raw
            Raw, as read.
        camera
            Properties of the detectors.
        bias, dark, flat
            Calibrations of the assembled detector.
        defects
            Defects of the assembled detector.
        linearity, crosstalk
            Corrections of the amplifiers.
        fringe, brighter_fatter
            Fringes relative to the sky; kernel.
        ptc, gain_correction, cti, stack_crosstalk, linearizer, bfk
            Calibrations of the Rubin stack, or handles of them. What cannot be used is left out with a
            warning; the metadata say what was applied.

        Returns
        -------
        result
            ``image``: `~prompt_processing.images.Exposure`.
        """
        # Imported late: a worker is ready before it has the numerics.
        from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions
        from prompt_processing.imaging.isr.isr import FurtherCalibrations, IsrOptions, run_isr

        observation = translate(raw.header)
        detector = camera.detector(raw.detector)
        info = VisitInfo(
            instrument=camera.name,
            exposure=observation.exposure_id,
            detector=detector.id,
            physical_filter=observation.physical_filter,
            band=camera.filters.get(observation.physical_filter, ""),
            mid_mjd_tai=float(observation.mid.tai.mjd),
            exposure_time=observation.exposure_time,
            boresight_ra=float("nan") if observation.ra is None else observation.ra,
            boresight_dec=float("nan") if observation.dec is None else observation.dec,
            rotation=float("nan") if observation.rotation is None else observation.rotation,
            airmass=float("nan") if observation.airmass is None else observation.airmass,
            observation_reason=observation.reason,
            target_name=observation.target_name or "",
        )
        rays = CosmicRayOptions.for_pixels(camera.pixel_scale_arcsec) if self.config.doCosmicRays else None
        options = IsrOptions(cosmic_rays=rays)
        detector, of_gains = self._with_gains(detector, ptc, gain_correction)
        charge = self._usable("CTI", lambda: None if cti is None else deferred_charge(_read(cti)))
        kernel: NDArray[np.floating] | None = None
        if brighter_fatter is not None:
            kernel = brighter_fatter.image
        elif bfk is not None:
            kernel = self._usable("BFK", lambda: brighter_fatter_kernel(_read(bfk), detector.name))
        linear: Linearity | None = None if linearity is None else linearity_of(linearity)
        if linearity is None and linearizer is not None:
            linear = self._usable("LINEARIZER", lambda: linearity_of_stack(_read(linearizer), detector))
        ratios = None if crosstalk is None else crosstalk_of(crosstalk)
        if crosstalk is None and stack_crosstalk is not None:
            ratios = self._usable("CROSSTALK", lambda: crosstalk_ratios(_read(stack_crosstalk), detector))
        further = FurtherCalibrations(
            linearity=linear or {},
            crosstalk=ratios or {},
            deferred_charge=charge or {},
            fringe=None if fringe is None else fringe.image,
            brighter_fatter=kernel,
        )
        image = run_isr(raw, detector, bias, dark, flat, defects, info, options, further)
        image.metadata |= {f"LSST ISR {name} APPLIED": done for name, done in of_gains.items()}
        if observation.ra is not None and observation.dec is not None and observation.rotation is not None:
            image.wcs = detector_wcs(camera, detector, observation.ra, observation.dec, observation.rotation)
        for name in ("SATURATED PIXELS", "COSMIC RAY PIXELS", "OVERSCAN ROWS REPLACED"):
            self.metadata[name.lower().replace(" ", "_")] = image.metadata[f"LSST ISR {name}"]
        for key, value in image.metadata.items():
            if key.startswith("LSST ISR ") and key.endswith(" APPLIED"):
                self.metadata[key.removeprefix("LSST ISR ").lower().replace(" ", "_")] = value
        return Struct(image=image)

    def _with_gains(
        self, detector: Detector, ptc: Any, gain_correction: Any
    ) -> tuple[Detector, dict[str, bool]]:
        """Return the detector with measured gains, and which of the two calibrations were applied."""
        applied = {"PTC": False, "GAIN CORRECTION": False}
        for name, dataset, use in (
            ("PTC", ptc, with_photon_transfer),
            ("GAIN CORRECTION", gain_correction, with_gain_correction),
        ):
            if dataset is not None:
                changed = self._usable(name, partial(_applied, use, detector, dataset))
                detector, applied[name] = changed or detector, changed is not None
        return detector, applied

    def _usable[T](self, name: str, read: Callable[[], T | None]) -> T | None:
        """Return a calibration of another stack, or `None` with a warning."""
        try:
            return read()
        # The Butler wraps errors of readers in others, and a damaged FITS file may raise almost any.
        except Exception as error:  # noqa: BLE001
            self.log.warning("The calibration %s of another stack is not applied: %s", name, error)
            return None


def _applied(use: Callable[[Detector, Any], Detector], detector: Detector, dataset: Any) -> Detector:
    return use(detector, _read(dataset))


def _read(dataset: Any) -> Any:
    """Return a dataset that may be behind a handle."""
    return dataset.get() if isinstance(dataset, DeferredDatasetHandle | InMemoryDatasetHandle) else dataset
