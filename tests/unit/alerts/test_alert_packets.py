import io
import struct

import fastavro
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty
from astropy.wcs import WCS
from lsst.alert.packet import Schema

from prompt_processing.alerts.avro_columns import (
    RecordEncoder,
    UnsupportedSchemaError,
    zigzag_varint,
)
from prompt_processing.alerts.cutouts import cutout_sizes, fits_cutouts, local_wcs
from prompt_processing.alerts.packets import AlertContent, AlertEncoder, newest_encoder

RECORD = {
    "type": "record",
    "name": "everything",
    "fields": [
        {"name": "long", "type": "long"},
        {"name": "int", "type": ["null", "int"]},
        {"name": "float", "type": ["null", "float"]},
        {"name": "double", "type": "double"},
        {"name": "boolean", "type": ["boolean", "null"]},
        {"name": "string", "type": ["null", "string"]},
        {"name": "absent", "type": ["null", "long"], "default": None},
    ],
}
FRAME = pd.DataFrame(
    {
        "long": np.array([0, -1, 2**62, -(2**63), 63, 64]),
        "int": pd.array([1, None, -300, 2**31 - 1, 0, None], dtype="Int32"),
        "float": np.array([1.5, np.nan, -2.0, np.inf, 0.0, 3.25], np.float32),
        "double": [1e300, -0.0, np.pi, 1.0, 2.0, 3.0],
        "boolean": pd.array([True, None, False, True, None, False], dtype="boolean"),
        "string": ["r", None, "", "a" * 200, "über", "y"],
    }
)


def test_columns_encode_to_what_fastavro_decodes() -> None:
    decoded = [
        fastavro.schemaless_reader(io.BytesIO(record), RECORD)
        for record in RecordEncoder(RECORD).encode(FRAME)
    ]
    assert [row["long"] for row in decoded] == FRAME["long"].tolist()
    assert [row["int"] for row in decoded] == [1, None, -300, 2**31 - 1, 0, None]
    assert [row["float"] for row in decoded] == [1.5, None, -2.0, np.inf, 0.0, 3.25]
    assert [row["double"] for row in decoded] == FRAME["double"].tolist()
    assert [row["boolean"] for row in decoded] == [True, None, False, True, None, False]
    assert [row["string"] for row in decoded] == ["r", None, "", "a" * 200, "über", "y"]
    assert all(row["absent"] is None for row in decoded)


def test_columns_encode_to_the_very_bytes_of_fastavro() -> None:
    rows = FRAME.astype(object).where(FRAME.notna(), None).to_dict("records")
    expected = []
    for row in rows:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, RECORD, row | {"absent": None})
        expected.append(buffer.getvalue())
    assert RecordEncoder(RECORD).encode(FRAME) == expected


def test_null_where_none_is_allowed_is_refused() -> None:
    frame = FRAME.assign(long=pd.array([1, None, 3, 4, 5, 6], dtype="Int64"))
    with pytest.raises(ValueError, match="long must not be null"):
        RecordEncoder(RECORD).encode(frame)
    with pytest.raises(ValueError, match="lacks the column double"):
        RecordEncoder(RECORD).encode(FRAME.drop(columns="double"))


def test_unknown_type_is_refused_when_the_encoder_is_made() -> None:
    schema = {
        "type": "record",
        "name": "r",
        "fields": [{"name": "m", "type": {"type": "map", "values": "int"}}],
    }
    with pytest.raises(UnsupportedSchemaError, match="m has the unsupported type"):
        RecordEncoder(schema)


@pytest.mark.parametrize("value", [0, 1, -1, 63, -64, 64, 2**31, 2**63 - 1, -(2**63)])
def test_one_number_encodes_as_fastavro_does(value: int) -> None:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, "long", value)
    assert zigzag_varint(value) == buffer.getvalue()


def _through_astropy(exposure, x: float, y: float, size: int) -> bytes:
    """The same cutout, made with astropy alone."""
    x0, y0 = round(x) - size // 2, round(y) - size // 2
    stamp = exposure.cutout(x, y, size)
    local = local_wcs(exposure.wcs, [x], [y])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crpix = [x - x0 + 1, y - y0 + 1]
    wcs.wcs.crval = [local.ra[0], local.dec[0]]
    wcs.wcs.cd = local.cd[0]
    data = CCDData(
        stamp.image,
        uncertainty=VarianceUncertainty(stamp.variance),
        wcs=wcs,
        psf=exposure.psf.image_at(x, y).astype(np.float32),
        unit=u.nJy,
        meta={"CUTMINX": x0 - 1, "CUTMINY": y0 - 1},
    )
    buffer = io.BytesIO()
    data.write(buffer, format="fits")
    return buffer.getvalue()


def _read(data: bytes) -> CCDData:
    return CCDData.read(io.BytesIO(data), format="fits", hdu_uncertainty="UNCERT", hdu_psf="PSFIMAGE")


@pytest.mark.parametrize(("x", "y", "size"), [(150.3, 99.6, 30), (2.0, 297.2, 31), (150.0, 0.0, 102)])
def test_cutout_reads_like_one_that_astropy_wrote(dia_field, x: float, y: float, size: int) -> None:
    exposure = dia_field.exposure(0)
    ours = next(fits_cutouts(exposure, [x], [y], [size]))
    assert ours is not None
    assert len(ours) % 2880 == 0
    with fits.open(io.BytesIO(ours)) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT", "PSFIMAGE"]
    a, b = _read(ours), _read(_through_astropy(exposure, x, y, size))
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_array_equal(a.uncertainty.array, b.uncertainty.array)
    np.testing.assert_allclose(a.psf, b.psf, rtol=1e-6, atol=1e-9)
    assert a.unit == b.unit
    assert isinstance(a.uncertainty, VarianceUncertainty)
    assert (a.meta["CUTMINX"], a.meta["CUTMINY"]) == (b.meta["CUTMINX"], b.meta["CUTMINY"])
    for corner in ((0, 0), (size, 0), (size / 2, size)):
        np.testing.assert_allclose(
            a.wcs.all_pix2world(*corner, 0), b.wcs.all_pix2world(*corner, 0), rtol=1e-12
        )


def test_cutout_wcs_agrees_with_the_image_to_a_milliarcsecond(dia_field) -> None:
    exposure = dia_field.exposure(0)
    stamp = _read(next(fits_cutouts(exposure, [150.3], [99.6], [30])))
    x0, y0 = stamp.meta["CUTMINX"] + 1, stamp.meta["CUTMINY"] + 1
    ra, dec = stamp.wcs.all_pix2world([0, 29], [0, 29], 0)
    ra_image, dec_image = exposure.wcs.all_pix2world([x0, x0 + 29], [y0, y0 + 29], 0)
    np.testing.assert_allclose(ra, ra_image, atol=1e-3 / 3600)
    np.testing.assert_allclose(dec, dec_image, atol=1e-3 / 3600)


def test_cutout_has_the_rotation_of_the_visit_where_it_is_known(dia_field) -> None:
    exposure = dia_field.exposure(0)
    turned = _read(next(fits_cutouts(exposure, [150.3], [99.6], [30], -43.62470328866432)))
    assert turned.meta["ROTPA"] == pytest.approx(-43.62470328866432, abs=1e-10)
    assert "ROTPA" not in _read(next(fits_cutouts(exposure, [150.3], [99.6], [30]))).meta


def test_source_off_the_image_has_no_cutout(dia_field) -> None:
    exposure = dia_field.exposure(0)
    height, width = exposure.shape
    # The first and the last pixel end half a pixel from their centres.
    inside = [(-0.5, 5.0), (width - 0.51, 5.0), (5.0, -0.5), (5.0, height - 0.51)]
    outside = [(-0.51, 5.0), (width - 0.5, 5.0), (5.0, -0.51), (5.0, height - 0.5), (5.0, height + 9.0)]
    places = np.array([*outside, *inside])
    files = list(fits_cutouts(exposure, *places.T, np.full(len(places), 30)))
    assert files[: len(outside)] == [None] * len(outside)
    assert None not in files[len(outside) :]


def test_image_without_psf_gives_cutouts_without_one(dia_field) -> None:
    exposure = dia_field.exposure(0)
    exposure.psf = None
    with fits.open(io.BytesIO(next(fits_cutouts(exposure, [50.0], [50.0], [30])))) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT"]


def test_cutout_is_as_large_as_the_footprint_within_limits() -> None:
    assert cutout_sizes([0, 30, 55, 400]).tolist() == [30, 30, 55, 102]


def _content(dia_field, n: int, **changes) -> AlertContent:
    sources = dia_field.standardized(1, *dia_field.grid(n), np.arange(n) + 500.0)
    sources["diaObjectId"] = pd.array(np.arange(n) + 1000, dtype="Int64")
    schemas = dia_field.schemas
    objects = schemas.dia_object.conform(
        {
            "diaObjectId": np.arange(n) + 1000,
            "ra": sources["ra"].to_numpy(),
            "dec": sources["dec"].to_numpy(),
            "validityStartMjdTai": np.full(n, 60000.0),
            "nDiaSources": np.full(n, 2),
        }
    )
    values = {
        "sources": sources,
        "objects": objects,
        "history": schemas.dia_source.empty(),
        "forced_history": schemas.dia_forced_source.empty(),
        "ss_sources": pd.DataFrame(),
        "orbits": {},
        "observation_reason": "science",
        "target_name": None,
    }
    return AlertContent(**(values | changes))


def _decode(message: bytes) -> dict:
    magic, schema_id = struct.unpack(">bi", message[:5])
    assert magic == 0
    schema = Schema.from_file()
    assert schema_id == schema.get_schema_id()
    buffer = io.BytesIO(message[5:])
    record = fastavro.schemaless_reader(buffer, schema.definition)
    assert not buffer.read()
    return record


def _alerts(dia_field, content: AlertContent) -> list[dict]:
    images = [dia_field.exposure(number) for number in range(3)]
    return [_decode(alert.message) for alert in AlertEncoder().prepare(content).alerts(*images)]


def test_alert_holds_the_source_its_object_and_three_cutouts(dia_field) -> None:
    content = _content(dia_field, 4)
    records = _alerts(dia_field, content)
    assert [record["diaSourceId"] for record in records] == content.sources["diaSourceId"].tolist()
    for number, record in enumerate(records):
        row = content.sources.iloc[number]
        source = record["diaSource"]
        assert source["diaObjectId"] == record["diaObject"]["diaObjectId"] == 1000 + number
        assert source["ra"] == row["ra"]
        assert source["psfFlux"] == pytest.approx(row["psfFlux"])
        assert source["trailFlux"] is None
        assert source["isDipole"] is False
        assert source["band"] == "r"
        assert source["ssObjectId"] is None
        assert record["prvDiaSources"] == record["prvDiaForcedSources"] == []
        assert record["ssSource"] is None
        assert (record["observation_reason"], record["target_name"]) == ("science", None)
        for name in ("cutoutDifference", "cutoutScience", "cutoutTemplate"):
            stamp = _read(record[name])
            x, y = stamp.wcs.all_world2pix(source["ra"], source["dec"], 0)
            assert x + stamp.meta["CUTMINX"] + 1 == pytest.approx(row["x"], abs=0.01)
            assert y + stamp.meta["CUTMINY"] + 1 == pytest.approx(row["y"], abs=0.01)


def test_history_goes_to_the_alerts_of_its_object_in_order_of_time(dia_field) -> None:
    content = _content(dia_field, 3)
    earlier = [dia_field.standardized(-k, *dia_field.grid(2), [100.0 * k, 7.0]) for k in (1, 2)]
    history = pd.concat(earlier, ignore_index=True)
    history["diaObjectId"] = pd.array([1000, 1002] * 2, dtype="Int64")
    forced = dia_field.schemas.dia_forced_source.conform(
        {
            "diaForcedSourceId": [1],
            "diaObjectId": [1001],
            "ra": [0.0],
            "dec": [0.0],
            "visit": [1],
            "detector": [2],
            "midpointMjdTai": [60000.0],
            "timeProcessedMjdTai": [60000.1],
            "psfFlux": [np.nan],
            "band": ["g"],
        }
    )
    content = _content(dia_field, 3, history=history, forced_history=forced)
    records = _alerts(dia_field, content)
    assert [source["psfFlux"] for source in records[0]["prvDiaSources"]] == [200.0, 100.0]
    assert records[1]["prvDiaSources"] == []
    assert records[1]["prvDiaForcedSources"] == [
        {
            "diaForcedSourceId": 1,
            "diaObjectId": 1001,
            "ra": 0.0,
            "dec": 0.0,
            "visit": 1,
            "detector": 2,
            "psfFlux": None,
            "psfFluxErr": None,
            "midpointMjdTai": 60000.0,
            "scienceFlux": None,
            "scienceFluxErr": None,
            "band": "g",
            "timeProcessedMjdTai": 60000.1,
            "timeWithdrawnMjdTai": None,
        }
    ]
    assert len(records[2]["prvDiaSources"]) == 2


def test_no_sources_make_no_alerts(dia_field) -> None:
    assert _alerts(dia_field, _content(dia_field, 0)) == []


def test_catalogue_that_no_packet_can_hold_is_refused_before_any_alert(dia_field) -> None:
    content = _content(dia_field, 2)
    with pytest.raises(ValueError, match="nDiaSources"):
        AlertEncoder().prepare(_content(dia_field, 2, objects=content.objects.drop(columns="nDiaSources")))


def test_field_that_a_newer_schema_requires_is_named() -> None:
    encoder = AlertEncoder()
    assert encoder.assemble({"diaSourceId": b"\2", "diaSource": b""}).startswith(
        struct.pack(">bi", 0, encoder.schema_id)
    )
    with pytest.raises(UnsupportedSchemaError, match="requires diaSource,"):
        encoder.assemble({"diaSourceId": b"\2"})


def test_schema_is_read_once_for_all_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    first = newest_encoder()
    monkeypatch.setattr(Schema, "from_file", None)
    assert newest_encoder() is first
