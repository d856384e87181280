"""Time scales and nights."""

import pytest
from astropy.time import Time

from prompt_processing.domain.clock import day_obs, night, tai_to_utc, utc_to_tai


@pytest.mark.parametrize(
    "date", ["1999-06-01", "2016-12-30T23:59:59", "2017-01-01", "2025-06-10T08:18:28.123"]
)
def test_tai_agrees_with_astropy(date):
    when = Time(date, scale="utc")
    assert utc_to_tai(when.unix) == pytest.approx(when.unix_tai, abs=1e-5)
    assert tai_to_utc(when.unix_tai) == pytest.approx(when.unix, abs=1e-5)


def test_a_night_is_the_tai_date_twelve_hours_before():
    assert day_obs(Time("2025-06-10T11:59:59", scale="tai")) == 20250609
    assert day_obs(Time("2025-06-10T12:00:00", scale="tai")) == 20250610
    # UTC is 37 s behind, so that this is after noon TAI.
    assert night(Time("2025-06-10T11:59:30", scale="utc")) == "2025-06-10"
    assert night(Time("2025-06-10T11:59:30", scale="utc").unix) == "2025-06-10"
