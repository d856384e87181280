import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn
from astropy.time import Time
from lsst.sphgeom import Angle, Circle, ConvexPolygon, LonLat, UnitVector3d

from prompt_processing.apdb.preloaded_catalogs import PaddedRegion
from prompt_processing.apdb.tables import ApdbSchemas, MissingColumnsError
from prompt_processing.association.dia_object_summary import summarize_dia_objects
from prompt_processing.association.matching import Positions, associate_dia_sources, match_one_to_one
from prompt_processing.association.standardize import standardize_dia_sources

ARCSEC = 1 / 3600


def test_standardized_sources_have_all_columns_and_types_of_the_apdb(dia_field, apdb) -> None:
    sources = dia_field.standardized(0, *dia_field.grid(5), np.arange(5) * 100.0)
    table = ApdbSchemas.of(apdb).dia_source
    assert list(sources.columns) == [column.name for column in table.columns]
    assert {name: str(kind) for name, kind in sources.dtypes.items()} == table.dtypes
    assert sources["diaObjectId"].isna().all()
    assert sources["trailFlux"].isna().all()
    assert (sources["trailNdata"] == 0).all()
    assert sources["visit"].tolist() == [dia_field.first_visit] * 5
    assert sources["reliability"].tolist() == pytest.approx([0.9] * 5)
    assert set(sources["band"]) == {"r"}


def test_no_sources_standardize_to_an_empty_typed_frame(dia_field) -> None:
    sources = dia_field.standardized(0, [], [], [])
    assert len(sources) == 0
    assert {name: str(kind) for name, kind in sources.dtypes.items()} == dia_field.schemas.dia_source.dtypes


def test_masked_values_become_null_and_foreign_byte_order_native(dia_field) -> None:
    measured = dia_field.measured(0, *dia_field.grid(3), [1.0, 2.0, 3.0])
    measured["psfFlux"] = MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False], dtype=">f8")
    measured["isDipole"] = MaskedColumn([True, False, True], mask=[False, False, True])
    info = dia_field.visit_info(0)
    frame = standardize_dia_sources(measured, None, info, dia_field.schemas.dia_source, Time.now()).sources
    assert frame["psfFlux"].isna().tolist() == [False, True, False]
    assert frame["psfFlux"].iloc[2] == 3.0
    assert frame["isDipole"].isna().tolist() == [False, False, True]
    assert frame["reliability"].isna().all()


def test_source_without_a_position_is_left_out_and_counted(dia_field) -> None:
    measured = dia_field.measured(0, *dia_field.grid(3), [1.0, 2.0, 3.0])
    measured["ra"][1] = np.nan
    info = dia_field.visit_info(0)
    result = standardize_dia_sources(measured, None, info, dia_field.schemas.dia_source, Time.now())
    assert result.n_unplaceable == 1
    assert result.sources["psfFlux"].tolist() == [1.0, 3.0]


def test_catalogue_without_positions_is_refused_by_name(dia_field) -> None:
    measured = dia_field.measured(0, *dia_field.grid(1), [1.0])
    measured.remove_columns(["ra", "x"])
    info = dia_field.visit_info(0)
    with pytest.raises(MissingColumnsError, match="ra, x"):
        standardize_dia_sources(measured, None, info, dia_field.schemas.dia_source, Time.now())


def test_two_sources_of_one_id_are_refused(dia_field) -> None:
    measured = dia_field.measured(0, *dia_field.grid(2), [1.0, 2.0])
    measured["diaSourceId"][1] = measured["diaSourceId"][0]
    with pytest.raises(ValueError, match="are duplicated"):
        standardize_dia_sources(
            measured, None, dia_field.visit_info(0), dia_field.schemas.dia_source, Time.now()
        )


def test_rivals_for_one_neighbour_go_to_the_closer_and_the_next() -> None:
    # a1 is nearest to b1, but b1 is still closer to a2; a1 then has b2 within the radius.
    a_ra, b_ra = np.array([0.0, 0.5]) * ARCSEC, np.array([0.4, -0.7]) * ARCSEC
    matches = match_one_to_one(Positions(a_ra, [0.0, 0.0]), Positions(b_ra, [0.0, 0.0]), 1.0)
    assert list(zip(matches.first, matches.second, strict=True)) == [(1, 0), (0, 1)]
    assert matches.separation == pytest.approx([0.1, 0.7], abs=1e-6)


def test_match_holds_across_ra_zero_and_near_a_pole() -> None:
    matches = match_one_to_one(
        Positions([359.99995, 10.0], [0.0, 89.9999]), Positions([0.00005, 190.0], [0.0, 89.9999]), 1.0
    )
    assert matches.first.tolist() == [0, 1]
    assert matches.separation == pytest.approx([0.36, 0.72], rel=1e-3)


def pairs(first: Positions, second: Positions) -> set[tuple[int, int]]:
    matches = match_one_to_one(first, second, 1.0)
    return set(zip(matches.first.tolist(), matches.second.tolist(), strict=True))


def east(*arcsec: float, error: float | tuple[float, ...] = 0.1) -> Positions:
    errors = np.broadcast_to(error, len(arcsec)) * ARCSEC
    return Positions(np.array(arcsec) * ARCSEC, np.zeros(len(arcsec)), errors, errors)


def test_pairs_are_chosen_together() -> None:
    # The closest pair, 0.2 arcsec apart, would leave 0.8 arcsec for the other two.
    assert pairs(east(0.0, 0.5), east(0.3, 0.8)) == {(0, 0), (1, 1)}


def test_offset_counts_in_units_of_its_error() -> None:
    # 0.3 arcsec from a precise object, 0.5 arcsec from a vague one.
    assert pairs(east(0.0), east(-0.3, 0.5, error=(0.02, 0.4))) == {(0, 1)}
    # A vague object does not attract the precise one's source, although chi squared is smaller there.
    assert pairs(east(0.0), east(-0.1, 0.1, error=(0.05, 0.9))) == {(0, 0)}


def test_missing_errors_count_as_a_typical_one() -> None:
    unknown = Positions([0.0], [0.0], [np.nan], [-1.0])
    assert pairs(unknown, east(-0.2, 0.3, error=(0.2, 0.2))) == {(0, 0)}
    assert pairs(Positions([0.0], [0.0]), Positions([-0.2 * ARCSEC, 0.3 * ARCSEC], [0.0, 0.0])) == {(0, 0)}


def test_only_a_surplus_of_sources_begins_objects() -> None:
    # A chain of five sources along four objects: the one that fits worst is left.
    found = pairs(east(0.0, 0.8, 1.6, 2.4, 3.9), east(0.05, 0.85, 1.65, 3.2))
    assert found == {(0, 0), (1, 1), (2, 2), (4, 3)}


def test_in_a_crowd_no_row_occurs_twice_and_no_pair_is_left() -> None:
    rng = np.random.default_rng(3)
    first, second = (Positions(*rng.uniform(0, 20 * ARCSEC, (2, 300))) for _ in range(2))
    found = match_one_to_one(first, second, 1.0)
    assert len(set(found.first)) == len(set(found.second)) == len(found.first)
    assert found.separation.max() <= 1
    assert (np.diff(found.separation) >= 0).all()
    free_first = np.setdiff1d(np.arange(300), found.first)
    free_second = np.setdiff1d(np.arange(300), found.second)
    left = match_one_to_one(
        Positions(np.asarray(first.ra)[free_first], np.asarray(first.dec)[free_first]),
        Positions(np.asarray(second.ra)[free_second], np.asarray(second.dec)[free_second]),
        1.0,
    )
    assert left.first.size == 0


def test_nothing_matches_an_empty_catalogue() -> None:
    assert match_one_to_one(Positions([1.0], [1.0]), Positions([], []), 1.0).first.size == 0


def _sources(ids, ra, ss_ids=None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "diaSourceId": pd.array(ids, dtype="Int64"),
            "ra": ra,
            "dec": np.zeros(len(ids)),
            "ssObjectId": pd.array(ss_ids or [None] * len(ids), dtype="Int64"),
            "diaObjectId": pd.array([None] * len(ids), dtype="Int64"),
        }
    )


def test_source_beyond_the_radius_begins_an_object_of_its_own_id() -> None:
    objects = pd.DataFrame({"diaObjectId": [7], "ra": [10.0], "dec": [0.0]})
    result = associate_dia_sources(_sources([1, 2], [10 + 0.9 * ARCSEC, 10 + 1.1 * ARCSEC]), objects, 1.0)
    assert result.sources["diaObjectId"].tolist() == [7, 2]
    assert result.known_objects.tolist() == [7]
    assert result.new_objects.tolist() == [2]


def test_solar_system_source_belongs_to_no_object() -> None:
    objects = pd.DataFrame({"diaObjectId": [7], "ra": [10.0], "dec": [0.0]})
    result = associate_dia_sources(_sources([1, 2], [10.0, 20.0], [99, None]), objects, 1.0)
    assert result.sources["diaObjectId"].isna().tolist() == [True, False]
    assert result.known_objects.size == 0


def _history(table, rows) -> pd.DataFrame:
    n = len(rows)
    base = {
        "diaSourceId": np.arange(n),
        "visit": np.arange(n),
        "detector": np.zeros(n, int),
        "x": np.zeros(n),
        "y": np.zeros(n),
        "timeProcessedMjdTai": np.zeros(n),
    }
    names = ("diaObjectId", "band", "midpointMjdTai", "ra", "dec", "psfFlux", "psfFluxErr", "scienceFlux")
    base |= {name: [row[k] for row in rows] for k, name in enumerate(names)}
    base["scienceFluxErr"] = np.ones(n)
    return table.conform(base)


def test_summary_of_an_object_is_that_of_its_measurements(dia_field) -> None:
    schemas = dia_field.schemas
    sources = _history(
        schemas.dia_source,
        [
            (5, "r", 1.0, 359.9999, 1.0, 10.0, 1.0, 100.0),
            (5, "r", 3.0, 0.0001, 1.0002, 40.0, 2.0, 130.0),
            (5, "r", 2.0, 0.0, 1.0001, 20.0, 1.0, 110.0),
            (5, "g", 4.0, 0.0, 1.0001, np.nan, 1.0, 50.0),
            (6, "r", 9.0, 1.0, 1.0, 7.0, 1.0, 70.0),
        ],
    )
    forced = schemas.dia_forced_source.conform(
        {
            "diaForcedSourceId": [1, 2],
            "diaObjectId": [5, 5],
            "ra": [0.0, 0.0],
            "dec": [1.0, 1.0],
            "visit": [1, 2],
            "detector": [0, 0],
            "midpointMjdTai": [1.0, 2.0],
            "timeProcessedMjdTai": [1.0, 2.0],
            "band": ["r", "r"],
            "psfFlux": [1.0, 3.0],
            "psfFluxErr": [1.0, 1.0],
        }
    )
    before = pd.DataFrame(
        {
            "diaObjectId": [5],
            "ra": [0.0],
            "dec": [1.0],
            "nDiaSources": [40],
            "firstDiaSourceMjdTai": [0.25],
            "lastDiaSourceMjdTai": [2.0],
        }
    )
    added = pd.Series([2], index=[5])
    now = Time(60000.5, format="mjd", scale="tai")
    row = summarize_dia_objects(before, sources, forced, added, schemas.dia_object, now).iloc[0]
    assert row["r_psfFluxNdata"] == 3
    assert row["r_psfFluxMean"] == pytest.approx((10 + 20 + 40 / 4) / 2.25)
    assert row["r_psfFluxMeanErr"] == pytest.approx(2.25**-0.5)
    assert row["r_psfFluxSigma"] == pytest.approx(np.std([10, 20, 40], ddof=1))
    assert (row["r_psfFluxMin"], row["r_psfFluxMax"]) == (10, 40)
    assert row["r_psfFluxMaxSlope"] == 20
    assert row["r_psfFluxErrMean"] == pytest.approx(4 / 3)
    assert row["r_scienceFluxMean"] == pytest.approx(340 / 3)
    assert row["r_fpFluxMean"] == 2
    assert row["g_psfFluxNdata"] == 0
    assert pd.isna(row["g_psfFluxMean"])
    assert pd.isna(row["g_psfFluxMin"])
    assert row["g_scienceFluxMean"] == 50
    assert row["nDiaSources"] == 42
    assert (row["firstDiaSourceMjdTai"], row["lastDiaSourceMjdTai"]) == (0.25, 4.0)
    assert 0 <= row["ra"] < 360
    assert np.sin(np.radians(row["ra"] / 2)) == pytest.approx(0.0, abs=1e-10)
    assert row["dec"] == pytest.approx(1.0001)
    assert row["validityStartMjdTai"] == 60000.5


def test_first_observation_makes_a_whole_object(dia_field) -> None:
    schemas = dia_field.schemas
    sources = _history(schemas.dia_source, [(5, "r", 1.0, 10.0, 1.0, 10.0, 1.0, 100.0)])
    new = pd.DataFrame({"diaObjectId": [5]})
    objects = summarize_dia_objects(
        new,
        sources,
        schemas.dia_forced_source.empty(),
        pd.Series([1], index=[5]),
        schemas.dia_object,
        Time.now(),
    )
    assert {name: str(kind) for name, kind in objects.dtypes.items()} == schemas.dia_object.dtypes
    assert objects["nDiaSources"].tolist() == [1]
    assert np.isnan(objects["r_psfFluxSigma"].iloc[0])
    assert np.isnan(objects["r_psfFluxMaxSlope"].iloc[0])


def test_padded_region_holds_its_margin_and_no_more() -> None:
    corners = [(10.0, 0.0), (10.2, 0.0), (10.2, 0.2), (10.0, 0.2)]
    polygon = ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*corner)) for corner in corners])
    padded = PaddedRegion(polygon, 30.0)
    ra = np.array([10.1, 10.1, 10.1, 9.9999, 10.2 + 29 * ARCSEC, 10.2 + 31 * ARCSEC])
    dec = np.array([0.1, -29 * ARCSEC, -31 * ARCSEC, 0.1, 0.1, 0.1])
    assert padded.contains(ra, dec).tolist() == [True, True, False, True, True, False]
    for a, d, inside in zip(ra, dec, padded.contains(ra, dec), strict=True):
        assert padded.region.contains(UnitVector3d(LonLat.fromDegrees(a, d))) == inside


def test_padded_circle_is_a_wider_circle() -> None:
    circle = Circle(UnitVector3d(LonLat.fromDegrees(10.0, 0.0)), Angle.fromDegrees(0.1))
    padded = PaddedRegion(circle, 60.0)
    inside = padded.contains(np.array([10.0, 10.0]), np.array([0.1 + 59 * ARCSEC, 0.1 + 61 * ARCSEC]))
    assert inside.tolist() == [True, False]
