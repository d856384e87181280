"""A pipeline of negligible cost that ends like the real one: APDB rows, and alerts in flight."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from butler_world import BAND, DEC, ED, FILTER, GD, INSTRUMENT, RA, START, VD
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as ct  # noqa: N813

from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure, Psf, VisitInfo

N_SOURCES = 6
"""Number of DiaSources, and alerts, of every visit-detector."""


class DifferenceConnections(PipelineTaskConnections, dimensions=VD):
    """Connections for the inputs of the last tasks."""

    images = ct.Input(name="post_isr_image", storageClass="ExposureF", dimensions=ED, multiple=True)
    objects = ct.Input(name="preloaded_dia_object", storageClass="DataFrame", dimensions=GD)
    science = ct.Output(name="preliminary_visit_image", storageClass="ExposureF", dimensions=VD)
    template = ct.Output(name="template_matched", storageClass="ExposureF", dimensions=VD)
    difference = ct.Output(name="difference_image", storageClass="ExposureF", dimensions=VD)
    sources = ct.Output(name="dia_source_filtered", storageClass="ArrowAstropy", dimensions=VD)
    scores = ct.Output(name="dia_source_reliability", storageClass="ArrowAstropy", dimensions=VD)


class DifferenceConfig(PipelineTaskConfig, pipelineConnections=DifferenceConnections):
    """Configuration without options."""


class DifferenceTask(PipelineTask):
    """Find the same few sources in every image."""

    ConfigClass = DifferenceConfig
    _DefaultName = "subtractImages"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Take the visit from the quantum, since the images lack it."""
        (image, *_) = butlerQC.get(inputRefs)["images"]
        data_id = butlerQC.quantum.dataId
        butlerQC.put(self.run(image, data_id["visit"], data_id["detector"]), outputRefs)

    def run(self, image: Exposure, visit: int, detector: int) -> Struct:
        """Make images and sources."""
        middle = START.mjd + 15.0 / 86400.0
        info = VisitInfo(INSTRUMENT, visit, detector, FILTER, BAND, middle, 30.0, RA, DEC, 0.0)
        psf = Psf(np.exp(-0.5 * np.sum(np.mgrid[-10:11, -10:11] ** 2, axis=0) / 3)[np.newaxis].astype("f4"))
        made = Exposure.blank(image.shape, wcs=_wcs(image.shape), psf=psf, visit_info=info)
        made.image[:] = np.random.default_rng(detector).normal(0, 5, image.shape)
        made.variance[:] = 25
        height, width = image.shape
        x = np.linspace(25.0, width - 25.0, N_SOURCES)
        y = np.linspace(22.0, height - 22.0, N_SOURCES)
        ra, dec = _wcs(image.shape).all_pix2world(x, y, 0)
        ids = pack_ids(visit, detector, range(N_SOURCES))
        sources = Table(
            {
                "diaSourceId": ids,
                "ra": ra,
                "dec": dec,
                "x": x,
                "y": y,
                "psfFlux": np.linspace(100.0, 200.0, N_SOURCES),
                "psfFluxErr": np.full(N_SOURCES, 5.0),
                "bboxSize": np.full(N_SOURCES, 15, np.int32),
            }
        )
        scores = Table({"diaSourceId": ids, "score": np.full(N_SOURCES, 0.5), "version": ["v0"] * N_SOURCES})
        return Struct(science=made, template=made, difference=made, sources=sources, scores=scores)


def _wcs(shape: tuple[int, ...]) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [shape[1] / 2, shape[0] / 2]
    wcs.wcs.crval = [RA, DEC]
    wcs.wcs.cd = np.diag([-0.2, 0.2]) / 3600
    wcs.wcs.set()
    return wcs


TASKS = {
    "Preprocessing": {"loadDiaCatalogs": "prompt_processing.tasks.load_dia_catalogs.LoadDiaCatalogsTask"},
    "ApPipe": {
        "isr": "butler_world.IsrTask",
        "subtractImages": "fault_pipeline.DifferenceTask",
        "standardizeDiaSource": "prompt_processing.tasks.standardize_dia_source.StandardizeDiaSourceTask",
        "associateApdb": "prompt_processing.tasks.associate_apdb.AssociateApdbTask",
    },
}
