"""Labels of LSST middleware releases: weeklies, dailies and official releases."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Self

from .errors import ReleaseError

__all__ = ["StackLabel"]

_WEEKLY = re.compile(r"w_(\d{4})_(\d{2})")
_DAILY = re.compile(r"d_(\d{4})_(\d{2})_(\d{2})")
_OFFICIAL = re.compile(r"v(\d+)_(\d+)_(\d+)(?:_rc(\d+))?")
_FLOATING = ("w_latest", "d_latest")
_YEARLY = re.compile(r"(\d+)\.(20\d{2})\.(\d{1,2})(\d{2})")
_PLAIN = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:rc(\d+))?")


@dataclass(frozen=True)
class StackLabel:
    """Label of the middleware, such as ``w_2026_43``, ``d_2026_10_24``, ``v30_0_0`` or ``w_latest``.

    Attributes
    ----------
    name
        Text of the label.
    """

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a label.

        Raises
        ------
        ReleaseError
            Raised if the text is not a label.
        """
        try:
            if text in _FLOATING or _OFFICIAL.fullmatch(text):
                return cls(text)
            if weekly := _WEEKLY.fullmatch(text):
                datetime.date.fromisocalendar(int(weekly[1]), int(weekly[2]), 1)
                return cls(text)
            if daily := _DAILY.fullmatch(text):
                datetime.date(int(daily[1]), int(daily[2]), int(daily[3]))
                return cls(text)
        except ValueError as error:
            raise ReleaseError(f"{text}: the date does not exist ({error}).") from error
        raise ReleaseError(
            f"{text!r} is not a label of the middleware: use one like w_2026_43, d_2026_10_24, v30_0_0, "
            "w_latest or d_latest."
        )

    @classmethod
    def of_version(cls, version: str) -> Self:
        """Return the label of an installed package's version: ``30.2026.4300`` is ``w_2026_43``.

        Raises
        ------
        ReleaseError
            Raised if the version follows neither pattern of the middleware.
        """
        if yearly := _YEARLY.fullmatch(version):
            return cls(f"w_{yearly[2]}_{int(yearly[3]):02d}")
        if plain := _PLAIN.fullmatch(version):
            candidate = f"_rc{plain[4]}" if plain[4] else ""
            return cls(f"v{plain[1]}_{plain[2]}_{plain[3]}{candidate}")
        raise ReleaseError(f"{version!r} is not a version of the middleware, such as 30.2026.4300 or 30.0.0.")

    @property
    def is_floating(self) -> bool:
        """Whether the label means the newest release."""
        return self.name in _FLOATING

    def newest_version(self, major: int) -> str | None:
        """Return the newest version that a package may have; `None` for any.

        Parameters
        ----------
        major
            Major version of the packages at that time, which weeklies do not name.
        """
        if self.is_floating:
            return None
        if official := _OFFICIAL.fullmatch(self.name):
            candidate = f"rc{official[4]}" if official[4] else ""
            return f"{official[1]}.{official[2]}.{official[3]}{candidate}"
        if weekly := _WEEKLY.fullmatch(self.name):
            year, week = int(weekly[1]), int(weekly[2])
        else:
            daily = _DAILY.fullmatch(self.name)
            assert daily is not None
            # PyPI has only weeklies: a daily means the newest weekly of its day.
            year, week, _ = datetime.date(int(daily[1]), int(daily[2]), int(daily[3])).isocalendar()
        return f"{major}.{year}.{week}99"
