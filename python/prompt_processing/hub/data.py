"""What a night has left, in the variables that the notebooks read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prompt_processing.domain import night_folder

__all__ = ["NightData"]


@dataclass(frozen=True, slots=True)
class NightData:
    """Where the data of a night are; `None` for what it does not have.

    Attributes
    ----------
    repository
        Butler repository.
    nights
        Database of nights, SQLite.
    alerts
        Folder of alerts.
    instruments
        Folder of descriptions of cameras.
    raws
        Folder of the night's raw frames.
    """

    repository: Path | None = None
    nights: Path | None = None
    alerts: Path | None = None
    instruments: Path | None = None
    raws: Path | None = None

    @classmethod
    def of_demo(cls, output: Path) -> Self:
        """Find the data in the output folder of ``prompt demo``, with ``--keep`` or ``--camera small``."""
        output = output.resolve()

        def first(*names: str) -> Path | None:
            return next((output / name for name in names if (output / name).exists()), None)

        return cls(
            repository=first(night_folder.REPOSITORY, "repo"),
            nights=first(night_folder.DATABASE),
            alerts=first(night_folder.ALERTS, "night/alerts"),
            instruments=first("cameras"),
            raws=first("observatory/tonight"),
        )

    def environment(self) -> dict[str, str]:
        """Return the variables of the notebooks."""
        found = {
            "CENTRAL_REPO": self.repository,
            "NIGHTS_DATABASE": self.nights,
            "ALERTS": self.alerts,
            "PROMPT_INSTRUMENT_PATH": self.instruments,
            "RAWS": self.raws,
        }
        return {name: str(place) for name, place in found.items() if place is not None}
