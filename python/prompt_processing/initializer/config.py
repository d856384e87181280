"""What the initializer is told by its environment."""

from __future__ import annotations

from prompt_processing.settings.environment import EnvironmentSettings
from prompt_processing.settings.worker import Selection


class InitializerSettings(EnvironmentSettings):
    """Those settings of the activator that name and fill output runs."""

    rubin_instrument: str
    """Short name of the instrument."""
    central_repo: str
    """URI of the Butler repository that outputs go to."""
    preprocessing_pipelines_config: Selection
    """Which pipelines run before the images arrive."""
    main_pipelines_config: Selection
    """Which pipelines run on the images."""
    config_apdb: str
    """URI of the APDB's configuration."""
