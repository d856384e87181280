"""Names of the Butler collections."""

from __future__ import annotations

from dataclasses import dataclass

NO_PIPELINE = "NoPipeline"
"""Takes the place of the pipeline's stem in the run of datasets that no pipeline writes."""


@dataclass(frozen=True, slots=True)
class Collections:
    """The collections of one instrument.

    Attributes
    ----------
    instrument : `str`
        Short name, as in the Butler.
    """

    instrument: str

    @property
    def defaults(self) -> str:
        """Chain of all pipeline inputs."""
        return f"{self.instrument}/defaults"

    @property
    def calib(self) -> str:
        """Chain of the calibration collections below it, in which calibrations are certified."""
        return f"{self.instrument}/calib"

    @property
    def unbounded_calib(self) -> str:
        """Run of calibrations without a validity range, such as the camera."""
        return f"{self.calib}/unbounded"

    @property
    def templates(self) -> str:
        """Collection of template coadds."""
        return f"{self.instrument}/templates"

    @property
    def raw(self) -> str:
        """Run of the raw images."""
        return f"{self.instrument}/raw/all"

    @property
    def refcats(self) -> str:
        """Collection of reference catalogues, which belong to no instrument."""
        return "refcats"

    @property
    def skymaps(self) -> str:
        """Collection of sky maps, which belong to no instrument."""
        return "skymaps"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Members of `defaults`, in search order."""
        return (self.calib, self.templates, self.refcats, self.skymaps)

    def output_chain(self, night: str) -> str:
        """Return the chain of a night's output runs.

        Parameters
        ----------
        night : `str`
            Day of observation of the processing, ``YYYY-MM-DD``.
        """
        return f"{self.instrument}/prompt/output-{night}"

    def plots_chain(self, night: str) -> str:
        """Return the chain of the plots that were drawn of a night's outputs by day.

        Parameters
        ----------
        night : `str`
            Day of observation of the processing, ``YYYY-MM-DD``.
        """
        return f"{self.instrument}/plots/{night}"

    def output_run(self, night: str, pipeline: str, deployment: str) -> str:
        """Return the run of a night's outputs of one pipeline.

        Parameters
        ----------
        night : `str`
            Day of observation of the processing, ``YYYY-MM-DD``.
        pipeline : `str`
            Stem of the pipeline file, or `NO_PIPELINE`.
        deployment : `str`
            See `.deployment.deployment_id`.
        """
        return f"{self.output_chain(night)}/{pipeline}/{deployment}"
