"""Settings of what publishes outcomes of visits."""

from __future__ import annotations

from prompt_processing.settings.environment import EnvironmentSettings

__all__ = ["OutcomeSettings"]


class OutcomeSettings(EnvironmentSettings):
    """Where outcomes of visits are published, for the pages that show a night."""

    outcome_topic: str = ""
    """Topic of ``KAFKA_CLUSTER`` for the outcome of each visit-detector; none by default."""
    outcome_dir: str = ""
    """Folder to which outcomes are appended if there is no topic; none by default."""
