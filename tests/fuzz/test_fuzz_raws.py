"""Headers and raw files: what arrives is an image, or is refused as unusable."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from fuzz_inputs import SCALARS, damaged, many_inputs, spoilt
from hypothesis import given
from hypothesis import strategies as st

from prompt_processing.butler.ingest import check_complete
from prompt_processing.instruments import (
    HeaderError,
    RawFileError,
    RawFrame,
    Segment,
    load_camera,
    read_header,
    read_raw,
    translate,
)
from prompt_processing.instruments.headers import Observation, exposure_dimension_record_fields
from prompt_processing.instruments.raw_writer import write_raw

HEADERS = {
    name: item["header"]
    for name, item in yaml.safe_load(
        (Path(__file__).parents[1] / "unit" / "instruments" / "real_headers.yaml").read_text()
    ).items()
}
HEADER_OF = {
    name: next(h for key, h in HEADERS.items() if key.startswith(name + " on sky"))
    for name in ("LSSTCam", "LATISS", "HSC")
}
CARD_VALUES = st.one_of(
    SCALARS,
    st.sampled_from(["2025-06-10T08:19:40.123", "2025-13-45", "60000.5", "TAI", "UTC", "T", -1, 1.5, 10**12]),
)


def use(observation: Observation) -> None:
    """Hold an observation to what the database will hold it to."""
    fields = exposure_dimension_record_fields(observation)
    assert 0 <= fields["id"] < 2**63
    assert 0 <= observation.detector < 2**31
    for name, longest in {
        "obs_id": 64,
        "group": 64,
        "physical_filter": 32,
        "observation_type": 16,
        "observation_reason": 68,
        "target_name": 64,
        "science_program": 64,
    }.items():
        assert len(fields[name]) <= longest, name
        assert "\0" not in fields[name], name
    assert 10**7 <= observation.day_obs < 10**8
    for number in ("seq_num", "seq_start", "seq_end"):
        assert -(2**63) <= fields[number] < 2**63
    for name in ("tracking_ra", "tracking_dec", "sky_angle", "azimuth", "zenith_angle"):
        assert fields[name] is None or math.isfinite(fields[name]), name
    assert observation.begin <= observation.mid <= observation.end


@pytest.mark.parametrize("name", sorted(HEADERS))
@many_inputs(0.1)
@given(data=st.data())
def test_any_header_is_an_observation_or_is_refused(name, data):
    header = data.draw(spoilt(HEADERS[name], CARD_VALUES))
    try:
        observation = translate(header, "raw.fits")
    except HeaderError:
        return
    use(observation)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("raws")
    written = {}
    for instrument, header in HEADER_OF.items():
        camera = load_camera(instrument).miniature(16, 12)
        number = {"HSC": 50, "LSSTCam": 1}.get(instrument, 0)
        generator = np.random.default_rng(7)
        kind = np.uint16 if instrument == "HSC" else np.int32
        frame = RawFrame(
            header,
            instrument,
            number,
            tuple(
                Segment.of(amplifier, generator.integers(1000, 60000, amplifier.raw_shape).astype(kind))
                for amplifier in camera.detector(number).amplifiers
            ),
        )
        for compress in (True, False):
            path = folder / f"{instrument}-{compress}.fits"
            write_raw(path, frame, compress=compress)
            assert len(read_raw(path).segments) == len(frame.segments)
            written[f"{instrument}, {'compressed' if compress else 'plain'}"] = path.read_bytes()
    written["LSSTCam, gzipped"] = gzip.compress(written["LSSTCam, plain"], 1)
    return written


KINDS = [*(f"{name}, {how}" for name in HEADER_OF for how in ("compressed", "plain")), "LSSTCam, gzipped"]


@pytest.mark.parametrize("kind", KINDS)
@many_inputs(0.15)
@given(data=st.data())
def test_any_file_is_a_raw_or_is_refused(tmp_path_factory, files, kind, data):
    # Half of the damage goes where headers are, of which pixels are many more.
    reach = data.draw(st.sampled_from([None, 2 * 2880, 40 * 2880]))
    content = data.draw(damaged(files[kind], reach))
    path = tmp_path_factory.getbasetemp() / ("damaged.fits.gz" if "gzip" in kind else "damaged.fits")
    path.write_bytes(content)
    for read in (check_complete, lambda path: translate(read_header(path)), read_raw):
        try:
            read(path)
        except (RawFileError, HeaderError) as error:
            assert str(error)  # noqa: PT017
