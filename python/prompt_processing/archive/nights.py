"""The interval of time that a night covers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from astropy.time import Time

from prompt_processing.instruments.translators.lookup import translator_for
from prompt_processing.instruments.translators.lsst import LsstTranslator

__all__ = ["NightInterval"]

_RUBIN_OFFSET_DAYS = 0.5


@dataclass(frozen=True, slots=True)
class NightInterval:
    """An observing day, as an interval of time.

    Attributes
    ----------
    day_obs
        ``YYYYMMDD``.
    begin, end
        First instant of the day and of the next one, MJD, TAI.
    """

    day_obs: int
    begin: float
    end: float

    @classmethod
    def of(cls, night: str, instrument: str = "") -> NightInterval:
        """Return the interval of a night.

        Parameters
        ----------
        night
            ``YYYY-MM-DD``.
        instrument
            Camera; its header translator says when the day begins. Without one, the day begins at 12:00 TAI,
            as at the Rubin Observatory.

        Raises
        ------
        InstrumentError
            Raised if the camera is unknown.
        """
        date = datetime.strptime(night, "%Y-%m-%d").replace(tzinfo=UTC)
        midnight = Time(date.strftime("%Y-%m-%dT00:00:00"), scale="tai")
        days = _RUBIN_OFFSET_DAYS
        if instrument and not issubclass(translator_for(instrument), LsstTranslator):
            # Rubin's cameras write the day into the header, so that their translators have no offset.
            offset = translator_for(instrument).observing_date_to_offset(midnight)
            days = 0.0 if offset is None else float(offset.to_value("day"))
        begin = float(midnight.mjd) + days
        return cls(int(date.strftime("%Y%m%d")), begin, begin + 1.0)

    @classmethod
    def at(cls, when: float, instrument: str = "") -> int:
        """Return the observing day of a time.

        Parameters
        ----------
        when
            Unix seconds, UTC.
        instrument
            Camera, as in `of`.

        Returns
        -------
        day_obs
            ``YYYYMMDD``.
        """
        mjd = float(Time(when, format="unix").tai.mjd)
        date = datetime.fromtimestamp(when, UTC)
        nights = [
            cls.of((date + timedelta(days=days)).strftime("%Y-%m-%d"), instrument) for days in (-1, 0, 1)
        ]
        return next(night.day_obs for night in nights if night.begin <= mjd < night.end)
