"""Translate headers with the observatory's translators, and print the exposure records."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def use_translators(checkout: Path) -> None:
    """Import the translators of a checkout of `obs_lsst` without the stack that the package needs."""
    for name in ("lsst.obs", "lsst.obs.lsst"):
        # Not executed: the package imports the stack.
        folder = checkout / "python" / name.replace(".", "/")
        spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None
        sys.modules[name] = module_from_spec(spec)
    import_module("lsst.obs.lsst.translators")


def record(header: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an exposure record, as `lsst.obs.base` makes it."""
    from astro_metadata_translator import ObservationInfo

    info = ObservationInfo(header, quiet=True)
    radec, altaz = info.tracking_radec, info.altaz_begin
    on_sky = info.boresight_rotation_coord == "sky"
    return {
        "instrument": info.instrument,
        "id": info.exposure_id,
        "obs_id": info.observation_id,
        "group": info.exposure_group,
        "day_obs": info.observing_day,
        "physical_filter": info.physical_filter,
        "exposure_time": info.exposure_time.to_value("s"),
        "dark_time": info.dark_time.to_value("s"),
        "observation_type": info.observation_type,
        "observation_reason": info.observation_reason,
        "seq_num": info.observation_counter,
        "seq_start": info.group_counter_start,
        "seq_end": info.group_counter_end,
        "target_name": info.object,
        "science_program": info.science_program,
        "tracking_ra": None if radec is None else radec.icrs.ra.deg,
        "tracking_dec": None if radec is None else radec.icrs.dec.deg,
        "sky_angle": info.boresight_rotation_angle.deg if on_sky else None,
        "azimuth": None if altaz is None else altaz.az.deg,
        "zenith_angle": None if altaz is None else altaz.zen.deg,
        "has_simulated": info.has_simulated_content,
        "can_see_sky": info.can_see_sky,
        "begin": info.datetime_begin.unix_tai,
        "end": info.datetime_end.unix_tai,
    }


def main() -> None:
    checkout, headers = map(Path, sys.argv[1:3])
    use_translators(checkout)
    from astro_metadata_translator import fix_header

    records: dict[str, Any] = {}
    for name, header in json.loads(headers.read_text()).items():
        try:
            fix_header(header, search_path=str(checkout / "corrections"))
            records[name] = record(header)
        except Exception as error:  # noqa: BLE001  # Whatever the reason, theirs refuses it.
            records[name] = {"refused": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(records))


main()
