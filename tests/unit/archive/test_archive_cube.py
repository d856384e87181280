"""Statistics of nights add up to those of lunations, months, seasons and years."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from prompt_processing.archive.cube import store
from prompt_processing.archive.cube.drawing import draw_cube
from prompt_processing.archive.cube.periods import LEVELS, Period, parents
from prompt_processing.archive.cube.statistics import (
    cells_of,
    derived,
    detector_centres,
    merged,
    night_statistics,
)
from prompt_processing.archive.cube.store import Cube
from prompt_processing.archive.errors import ArchiveError
from prompt_processing.instruments import load_camera
from prompt_processing.instruments.geometry import detector_centre

ORDER = 6


def images(visits: int = 3, state: str = "done", ra: float = 10.0, **changes: object) -> pd.DataFrame:
    """Two detectors of some visits, a degree apart."""
    rows = [
        {
            "visit": visit,
            "group": str(visit),
            "detector": detector,
            "filter": "r_57",
            "ra": ra + visit,
            "dec": -30.0,
            "rotation": 20.0,
            "state": state,
            "seeing": 0.8 + 0.1 * visit,
            "depth": 24.0 + 0.1 * visit,
        }
        | changes
        for visit in range(visits)
        for detector in (93, 94)
    ]
    return pd.DataFrame(rows)


def sources(number: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ra": 10.0,
            "dec": -30.0,
            "band": "r",
            "reliability": np.linspace(0.3, 0.9, number),
            "isNegative": [False] * (number - 1) + [True],
        }
    )


def test_centres_of_detectors_are_those_of_the_camera() -> None:
    camera = load_camera("LSSTCam")
    chosen = np.array([0, 94, 188, 94])
    ra, dec, rotation = (
        np.array([0.01, 180.0, 77.0, 5.0]),
        np.array([-30.0, 60.0, -89.0, 0.0]),
        np.arange(4) * 71.0,
    )
    found = np.stack(detector_centres(camera, chosen, ra, dec, rotation), axis=1)
    for number, one in enumerate(chosen):
        exact = detector_centre(camera, camera.detector(int(one)), ra[number], dec[number], rotation[number])
        east = (found[number, 0] - exact[0] + 180.0) % 360.0 - 180.0
        # Distortion is left out: 0.01 degrees are a hundredth of a cell.
        assert abs(east) * np.cos(np.radians(exact[1])) < 0.01
        assert abs(found[number, 1] - exact[1]) < 0.01


def test_night_counts_visits_images_and_sources_in_their_cells() -> None:
    failed = images(1, state="failed", seeing=None, depth=None, group="9")
    table = night_statistics("LSSTCam", pd.concat([images(), failed]), sources(), ORDER)
    assert table["images"].sum() == 6
    assert table["failed"].sum() == 2
    assert set(table["band"]) == {"r"}
    own = table[table["cell"] == cells_of(10.0, -30.0, ORDER)].iloc[0]
    assert tuple(own[["sources", "doubtful", "negative"]]) == (4, 1, 1)
    sky = derived(merged([table.assign(cell=0)])).iloc[0]
    assert sky["mean_seeing"] == pytest.approx(0.9)
    assert sky["spurious_rate"] == 0.25
    assert sky["failed_rate"] == 0.25
    # Six images of about 24.1 mag reach 1.25 lg 6 deeper together.
    assert sky["total_depth"] == pytest.approx(24.1 + 1.25 * np.log10(6), abs=0.01)


def test_visit_counts_once_in_a_cell() -> None:
    near = images(2, detector=94)
    assert night_statistics("LSSTCam", near, pd.DataFrame(), ORDER)["visits"].sum() == 2


def test_periods_of_a_night() -> None:
    assert parents(Period("night", "2026-12-31")) == (Period("lunation", "1286"), Period("month", "2026-12"))
    assert parents(Period("month", "2026-12")) == (Period("season", "2027-DJF"), Period("year", "2026"))
    assert parents(Period("month", "2026-11")) == (Period("season", "2026-SON"), Period("year", "2026"))
    assert parents(Period("year", "2026")) == ()
    # The new moon of 2026-11-09 7:02 UT: the night before it is of the old moon.
    assert [parents(Period("night", f"2026-11-{day:02}"))[0].name for day in (7, 9)] == ["1284", "1285"]


def test_longer_periods_are_sums_of_shorter_ones(tmp_path: Path) -> None:
    cube = Cube(tmp_path, ORDER)
    nights = {
        f"2026-{month:02}-{day:02}": night_statistics(
            "LSSTCam", images(1 + day % 3, ra=10.0 * month), sources(day), ORDER
        )
        for month, day in ((10, 30), (11, 3), (11, 28), (12, 5))
    }
    for night, table in reversed(nights.items()):
        cube.add_night(night, table)
    assert [one.name for one in cube.periods("season")] == ["2026-SON", "2027-DJF"]
    for level in LEVELS[1:]:
        found = merged([cube.read(one) for one in cube.periods(level)])
        pd.testing.assert_frame_equal(found, merged(nights.values()))
    november = cube.read(Period("month", "2026-11"))
    pd.testing.assert_frame_equal(november, merged([nights["2026-11-03"], nights["2026-11-28"]]))


def test_only_periods_of_a_changed_night_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = Cube(tmp_path, ORDER)
    table = night_statistics("LSSTCam", images(), sources(), ORDER)
    cube.add_night("2026-10-30", table)
    written = cube.add_night("2026-11-28", table)
    assert {one.name for one in written} == {"2026-11-28", "1285", "2026-11", "2026-SON", "2026"}
    assert cube.add_night("2026-11-28", table) == []
    more = night_statistics("LSSTCam", images(4), sources(), ORDER)
    # A run that dies after the night's file leaves the rest to the next.
    with monkeypatch.context() as broken:
        broken.setattr(store, "merged", lambda tables: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cube.add_night("2026-11-28", more)
    assert {one.name for one in cube.add_night("2026-11-28", more)} == {"1285", "2026-11", "2026-SON", "2026"}
    pd.testing.assert_frame_equal(cube.read(Period("year", "2026")), merged([table, more]))


def test_tiles_are_read_alone(tmp_path: Path) -> None:
    cube = Cube(tmp_path, ORDER)
    table = night_statistics("LSSTCam", pd.concat([images(ra=10.0), images(ra=200.0)]), sources(), ORDER)
    cube.add_night("2026-11-28", table)
    period = Period("night", "2026-11-28")
    tiles = sorted(set(table["cell"] // 4 ** (ORDER - 3)))
    assert pq.ParquetFile(cube.path(period)).num_row_groups == len(tiles) >= 2
    one = cube.read(period, tiles[:1])
    assert 0 < len(one) < len(table)
    assert set(one["cell"] // 4 ** (ORDER - 3)) == {tiles[0]}
    with pytest.raises(ArchiveError, match="no year 2025"):
        cube.read(Period("year", "2025"))
    with pytest.raises(ArchiveError, match="cells of order 6, not 7"):
        Cube(tmp_path, 7)
    with pytest.raises(ArchiveError, match="larger than tiles"):
        Cube(tmp_path / "other", 2)


def test_maps_and_trends_are_drawn_also_of_empty_nights(tmp_path: Path) -> None:
    cube = Cube(tmp_path, ORDER)
    # Cells on both sides of RA 0.
    cube.add_night("2026-11-27", night_statistics("LSSTCam", images(ra=358.9), pd.DataFrame(), ORDER))
    empty = night_statistics("LSSTCam", images(0).reindex(columns=images(1).columns), pd.DataFrame(), ORDER)
    cube.add_night("2026-11-28", empty)
    assert cube.add_night("2026-11-28", empty) == []
    folder = draw_cube(cube, "2026-11-28", "LSSTCam")
    assert len(list(folder.glob("map-*.png"))) == 5
    assert len(list(folder.glob("trend-*.png"))) == 5
