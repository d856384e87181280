"""Settings of the initializer."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from prompt_processing.settings.environment import EnvironmentSettings
from prompt_processing.settings.worker import RenamedTypes, Selection, Settings


class InitializerSettings(EnvironmentSettings):
    """Settings of the worker that determine the names and content of output runs."""

    rubin_instrument: str
    """Short name of the instrument."""
    central_repo: str
    """URI of the Butler repository for outputs."""
    preprocessing_pipelines_config: Selection
    """Pipelines to run before images arrive, a YAML list of nodes."""
    main_pipelines_config: Selection
    """Pipelines to run on the images, a YAML list of nodes."""
    config_apdb: str
    """URI of the APDB's configuration."""
    dataset_type_names: RenamedTypes = Field(default_factory=dict)
    """Names that dataset types of the pipelines have in the repository, as for the workers."""

    @classmethod
    def of_worker(cls, settings: Settings) -> Self:
        """Return what a worker's settings say, whatever the environment says."""
        return cls(**{name: getattr(settings, name) for name in cls.model_fields})
