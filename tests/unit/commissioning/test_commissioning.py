"""A description drafted from frames reads these frames, and its check finds what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.wcs import WCS
from camera_files import MAXIM_HEADER, NINA_HEADER, write_decam, write_single

from prompt_processing.cli.main import run
from prompt_processing.commissioning.check import check_frames, pointing_remark
from prompt_processing.commissioning.draft import DraftError, draft_instrument
from prompt_processing.commissioning.filters import guess_filter_rule
from prompt_processing.commissioning.frames import read_frames
from prompt_processing.commissioning.kinds import kinds_in_paths
from prompt_processing.commissioning.pointing import find_stars, solve
from prompt_processing.instruments import (
    RawFileError,
    load_camera,
    load_instrument,
    read_header,
    read_raw,
    translate,
)
from prompt_processing.instruments.description.instrument import read_instrument
from prompt_processing.instruments.description.registry import SEARCH_PATH_VARIABLE
from prompt_processing.instruments.description.rules import KeywordRule

GAIN, READ_NOISE, LEVEL = 1.6, 9.0, 800
SHAPE = (240, 320)


def expose(electrons: float | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light = rng.poisson(np.broadcast_to(np.maximum(electrons, 0), SHAPE)) if np.any(electrons) else 0.0
    return np.clip(np.rint((light + rng.normal(0, READ_NOISE, SHAPE)) / GAIN + LEVEL), 0, 65535)


@pytest.fixture
def frames(tmp_path) -> list[Path]:
    """Two frames of each kind, by MaxIm DL."""
    rng = np.random.default_rng(2)
    header = {**MAXIM_HEADER, "INSTRUME": "Moravian G2-1600", "FILTER": "Sloan_r"}
    made = []
    for kind, electrons in (("Bias", 0), ("Dark", 60), ("Flat", 40_000), ("Light", 900)):
        for number in (1, 2):
            path = tmp_path / f"{kind}{number}.fit"
            when = f"2024-08-10T13:{20 + len(made)}:07"
            write_single(path, header, expose(electrons, rng), IMAGETYP=f"{kind} Frame", **{"DATE-OBS": when})
            made.append(path)
    return made


@pytest.fixture
def drafted(tmp_path, frames, monkeypatch):
    draft = draft_instrument(frames, tmp_path / "cameras" / "Moravian")
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path / "cameras"))
    return draft


def test_draft_measures_gain_and_read_noise(drafted):
    amplifier = drafted.instrument.camera.detector(0).amplifiers[0]
    assert amplifier.gain == pytest.approx(GAIN, rel=0.05)
    assert amplifier.read_noise == pytest.approx(READ_NOISE, rel=0.05)


def test_draft_reads_the_frames_it_was_made_from(drafted, frames):
    kinds = [translate(read_header(path)).observation_type for path in frames]
    assert kinds == ["bias", "bias", "dark", "dark", "flat", "flat", "science", "science"]
    observation = translate(read_header(frames[-1]))
    assert (observation.instrument, observation.band) == ("Moravian", "r")
    assert observation.ra == pytest.approx(296.2404, abs=1e-3)
    assert read_raw(frames[0], instrument="Moravian").shape == SHAPE


def test_draft_says_what_it_guessed_and_how_to_find_out(drafted):
    confirm = drafted.to_confirm
    assert set(confirm) >= {"parity_flipped_x", "header.rotation", "plate_scale_arcsec_per_mm"}
    assert "instrument check --catalogue" in confirm["parity_flipped_x"]
    assert "site" in confirm  # the sign of the longitude
    assert "header.exposure_time" not in confirm
    assert drafted.instrument.document.to_confirm == confirm
    text = (drafted.instrument.folder / "instrument.yaml").read_text()
    assert "parity_flipped_x: false  # to confirm" in text
    assert "# measured from two flat frames" in text


def test_draft_has_pipelines_of_its_own_name(drafted):
    assert "Moravian" in (drafted.instrument.pipelines / "ApPipe.yaml").read_text()
    assert yaml.safe_load((drafted.instrument.pipelines / "Isr.yaml").read_text())["tasks"]


def test_setting_of_a_cmos_camera_is_not_its_gain(tmp_path):
    path = write_single(tmp_path / "light.fits", NINA_HEADER, np.full(SHAPE, 900))
    draft = draft_instrument([path], tmp_path / "zwo")
    assert draft.instrument.camera.detector(0).amplifiers[0].gain == pytest.approx(1.0022, abs=1e-3)
    without = write_single(tmp_path / "dark.fits", NINA_HEADER, np.full(SHAPE, 900), EGAIN=None)
    draft = draft_instrument([without], tmp_path / "zwo2")
    assert draft.instrument.camera.detector(0).amplifiers[0].gain == 1.0
    assert any(path.endswith(".gain") for path in draft.to_confirm)


def test_clock_of_twelve_hours_is_noticed(tmp_path):
    path = write_single(
        tmp_path / "light.fits", MAXIM_HEADER, np.full(SHAPE, 900), **{"DATE-OBS": "2021-09-17 T10:09:41"}
    )
    with fits.open(path, "update") as hdus:
        hdus[0].header.comments["SIMPLE"] = "C# FITS: 9/17/2021 10:09:41 PM"
    assert "twelve hours" in draft_instrument([path], tmp_path / "orion").to_confirm["header.begin"]


def test_clock_that_says_local_in_its_comment_gives_way_to_another(tmp_path, monkeypatch):
    when = Time("2026-11-03T03:10:00")
    cards = {"DATE-OBS": "2026-11-02", "TIME-OBS": "23:10:00", "MJD-OBS": when.tai.mjd, "TIMESYS": "TAI"}
    path = write_single(tmp_path / "light.fits", MAXIM_HEADER, np.full(SHAPE, 900), **cards)
    with fits.open(path, "update") as hdus:
        hdus[0].header.comments["TIME-OBS"] = "local time at start, CLT (UT-4)"
    draft = draft_instrument([path], tmp_path / "cameras" / "Orion")
    assert "in TAI" in draft.to_confirm["header.begin"]
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path / "cameras"))
    assert abs(translate(read_header(path)).begin.unix - when.unix) < 0.01


def test_clock_that_is_hours_from_that_of_its_scale_is_doubted(tmp_path):
    cards = {"DATE-OBS": "2026-11-02T23:10:00", "MJD-OBS": 61347.1323727, "TIMESYS": "TAI"}
    path = write_single(tmp_path / "light.fits", MAXIM_HEADER, np.full(SHAPE, 900), **cards)
    draft = draft_instrument([path], tmp_path / "orion")
    assert "MJD-OBS is UTC" in draft.to_confirm["header.begin"]


def test_overscan_is_seen_in_a_flat(tmp_path):
    pixels = np.full(SHAPE, 30_000)
    pixels[:, :12] = 800
    path = write_single(tmp_path / "flat.fits", MAXIM_HEADER, pixels, IMAGETYP="Flat Frame")
    draft = draft_instrument([path], tmp_path / "mycam")
    (segment,) = draft.instrument.places[0]
    assert segment.columns == slice(0, 320)
    assert draft.instrument.camera.detector(0).width == 308
    assert "sections" in draft.to_confirm["amplifier_kinds"]


def test_multi_extension_file_becomes_several_detectors(tmp_path, monkeypatch):
    light = write_decam(tmp_path / "raw.fits.fz", {25: "S1", 26: "S2", 32: "N1"}, INSTRUME="Mosaic9")
    draft = draft_instrument([tmp_path / "raw.fits.fz"], tmp_path / "cameras" / "Mosaic9")
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path / "cameras"))
    assert {one.name for one in draft.instrument.camera.detectors.values()} == {"S1", "S2", "N1"}
    assert len(draft.instrument.document.amplifier_kinds) == 2
    assert "detectors" in draft.to_confirm
    frame = read_raw(tmp_path / "raw.fits.fz", instrument="Mosaic9", detector=32)
    assert frame.shape == light[32].shape
    assert translate(frame.header).physical_filter.startswith("r DECam")


def test_quadrants_in_four_images_become_one_detector(tmp_path, monkeypatch):
    primary = fits.PrimaryHDU(header=fits.Header({**NINA_HEADER, "INSTRUME": "fa05", "CCDSUM": "2 2"}))
    hdus = [primary]
    for x, y in (
        ("[1025:1064", "3072:3043]"),
        ("[1025:1064", "3013:3042]"),
        ("[1104:1065", "3013:3042]"),
        ("[1104:1065", "3072:3043]"),
    ):
        image = fits.ImageHDU(np.full((20, 26), 1000, np.uint16), name="SCI")
        image.header.update(
            {
                "DETSEC": f"{x},{y}",
                "DATASEC": "[1:20,1:15]",
                "BIASSEC": "[22:26,1:15]",
                "GAIN": 6.4,
            }
        )
        hdus.append(image)
    fits.HDUList(hdus).writeto(tmp_path / "raw.fits")
    draft_instrument([tmp_path / "raw.fits"], tmp_path / "cameras" / "sinistro")
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path / "cameras"))
    frame = read_raw(tmp_path / "raw.fits", instrument="sinistro")
    assert frame.shape == (30, 40)
    assert [(one.x0, one.y0, one.flip_x, one.flip_y) for one in frame.segments] == [
        (0, 15, False, True), (0, 0, False, False), (20, 0, True, False), (20, 15, True, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("r", "r"), ("Sloan_r", "r"), ("SDSS-G", "g"), ("i.MP9702", "i"), ("z'", "z"),
        ("r DECam SDSS c0002", "r"),
        ("V", "V"), ("Bessell R", "R"), ("Ha", "Ha"), ("Luminance", "white"), ("Clear", "white"),
        ("IRCUT", "IRCUT"), ("Baader Luminance", "white"), ("R Cousins", "R"), ("ZTF r-band", "r"),
        ("BB#Rc/162_ESO844", "R"), ("SDSS i2", "i"), ("Blue", "B"), ("Sharp r", "r"), ("Y", "y"),
    ],
)  # fmt: skip
def test_band_of_a_filter_is_in_its_name(tmp_path, name, band):
    path = write_single(tmp_path / "light.fit", MAXIM_HEADER, np.zeros(SHAPE), FILTER=name)
    assert draft_instrument([path], tmp_path / "cam").instrument.camera.filters[name] == band


@pytest.mark.parametrize("name", ["my camera", "1st"])
def test_unusable_names_are_refused(tmp_path, frames, name):
    with pytest.raises(DraftError, match="is not a name of an instrument"):
        draft_instrument(frames, tmp_path / name)


def test_full_folder_is_left_alone(tmp_path, frames):
    with pytest.raises(DraftError, match="is not empty"):
        draft_instrument(frames, frames[0].parent, "cam")


def test_names_of_files_and_folders_say_what_headers_do_not():
    paths = [Path(one) for one in ("BIAS/img1.fits", "m31/Dark_30s.fits", "flats/1.fits", "m31/bias.fits")]
    assert kinds_in_paths([*paths, Path("light/starflats.fits")]) == ["bias", "dark", "flat", "bias", None]
    assert kinds_in_paths([Path("domeflat/1.fits"), Path("SkyFlat_2.fits")]) == ["flat", "flat"]


def test_frames_beside_folders_of_calibrations_are_of_the_sky(tmp_path):
    for name in ("zero", "domeflat", "m31"):
        (tmp_path / name).mkdir()
        fits.PrimaryHDU(np.full((20, 20), 800, np.uint16)).writeto(tmp_path / name / "1.fits")
    paths = [tmp_path / name / "1.fits" for name in ("zero", "domeflat", "m31")]
    assert [frame.kind for frame in read_frames(paths)] == ["bias", "flat", "science"]


@pytest.mark.parametrize(
    ("header", "keyword"),
    [
        ({"WHEEL": "r' SDSS"}, "WHEEL"),
        ({"BAND": "V", "WHEEL": 3}, "BAND"),
        ({"FILTER": "r", "BAND": "x"}, "FILTER"),
    ],
)
def test_wheels_and_bands_name_the_filter_where_no_keyword_has_the_word(header, keyword):
    assert KeywordRule.model_validate(guess_filter_rule([header]).value).keywords == (keyword,)


def test_colour_image_is_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 20, 20), np.uint16)).writeto(tmp_path / "colour.fits")
    with pytest.raises(RawFileError, match="colour images"):
        draft_instrument([tmp_path / "colour.fits"], tmp_path / "cam")


def test_check_reports_each_frame(drafted, frames, tmp_path):
    checked = check_frames(drafted.instrument, frames, tmp_path / "pictures")
    assert [one.problems for one in checked] == [[]] * len(frames)
    assert all(one.picture is not None and one.picture.is_file() for one in checked)
    assert len({one.picture for one in checked}) == len(frames)


def test_picture_has_the_name_of_its_frame(drafted, frames, tmp_path):
    path = tmp_path / "mg261103.0030.fits"
    path.write_bytes(frames[0].read_bytes())
    (checked,) = check_frames(drafted.instrument, [path], tmp_path / "pictures")
    assert checked.picture == tmp_path / "pictures" / "mg261103.0030.png"


def test_check_draws_the_detectors_of_a_file_in_one_picture(tmp_path):
    write_decam(tmp_path / "raw.fits.fz", {25: "S1", 32: "N1"})
    (checked,) = check_frames(load_instrument("DECam"), [tmp_path / "raw.fits.fz"], tmp_path / "pictures")
    assert (checked.problems, checked.detectors) == ([], (25, 32))
    assert checked.picture == tmp_path / "pictures" / "raw.png"
    assert any("detector S1 has 40 x 30 pixels, not 2048 x 4096" in remark for remark in checked.remarks)


def test_check_names_the_margin_that_covers_a_wrong_pointing():
    assert pointing_remark(-20.0, 15.0) == ""
    assert "off by -50 arcsec east and 8 north" in pointing_remark(-50.0, 8.0)
    assert pointing_remark(-50.0, 8.0).endswith("PRELOAD_PADDING=70")


def test_check_finds_frames_with_the_same_id(drafted, frames, tmp_path):
    twin = tmp_path / "twin.fit"
    twin.write_bytes(frames[-1].read_bytes())
    first, second = check_frames(drafted.instrument, [frames[-1], twin], tmp_path / "pictures")
    assert not first.problems
    assert "it has the exposure id" in second.problems[0]


def test_check_finds_exposure_ids_that_are_too_large_for_sources(tmp_path, frames, monkeypatch):
    document = (
        draft_instrument(frames, tmp_path / "cameras" / "Moravian").instrument.folder / "instrument.yaml"
    )
    document.write_text(document.read_text().replace("header:\n", "header:\n  exposure_id: JOB\n"))
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path / "cameras"))
    header = {**MAXIM_HEADER, "INSTRUME": "Moravian G2-1600", "JOB": 99_999_999_999}
    path = write_single(tmp_path / "large.fit", header, np.zeros(SHAPE))
    (checked,) = check_frames(read_instrument(document.parent), [path], tmp_path / "pictures")
    assert "sources cannot be numbered by this exposure id" in checked.problems[0]


def test_check_says_why_a_frame_is_unusable(drafted, tmp_path):
    header = {**MAXIM_HEADER, "INSTRUME": "Moravian G2-1600", "IMAGETYP": "Focus"}
    other = write_single(tmp_path / "other.fit", MAXIM_HEADER, np.zeros(SHAPE))
    binned = write_single(tmp_path / "binned.fit", header, np.zeros((120, 160)))
    broken = tmp_path / "broken.fit"
    broken.write_bytes(b"SIMPLE")
    foreign, small, torn = check_frames(drafted.instrument, [other, binned, broken], tmp_path / "pictures")
    assert "recognised as small" in foreign.problems[0]
    assert "is it binned" in small.problems[0]
    assert any("'focus' is none that" in remark for remark in small.remarks)
    assert "unreadable" in torn.problems[0]


def star_field(
    rng: np.random.Generator, parity: bool, rotation: float, scale: float, shape: tuple[int, int] = (500, 700)
) -> tuple[np.ndarray, WCS, np.ndarray]:
    """Return an image of stars, its WCS, and positions of the stars on the sky, brightest first."""
    camera = load_camera("small")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [296.2404, -14.8031]
    wcs.wcs.crpix = [(shape[1] + 1) / 2 + 35, (shape[0] + 1) / 2 - 20]
    angle, east = np.radians(rotation), 1.0 if parity else -1.0
    wcs.wcs.cd = (
        scale
        / 3600
        * np.array([[east * np.cos(angle), np.sin(angle)], [-east * np.sin(angle), np.cos(angle)]])
    )
    wcs.wcs.set()
    positions = rng.uniform((-200, -200), (shape[1] + 200, shape[0] + 200), (160, 2))
    flux = np.sort(10 ** rng.uniform(3.4, 5, 160))[::-1]
    image = rng.normal(300, 15, shape).astype(np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for (column, row), light in zip(positions, flux, strict=True):
        if -10 < column < shape[1] + 10 and -10 < row < shape[0] + 10:
            box = np.s_[max(int(row) - 12, 0) : int(row) + 13, max(int(column) - 12, 0) : int(column) + 13]
            r2 = (x[box] - column) ** 2 + (y[box] - row) ** 2
            image[box] += light / (2 * np.pi * 2.0) * np.exp(-r2 / 4.0)
    # Hot pixels, which are in no catalogue.
    image[rng.integers(0, shape[0], 40), rng.integers(0, shape[1], 40)] += 4000
    assert camera.parity_flipped_x
    return image, wcs, wcs.all_pix2world(positions, 0)


@pytest.mark.parametrize(("parity", "rotation", "scale"), [(True, 1.5, 1.03), (False, 217.0, 1.06)])
def test_stars_tell_parity_rotation_scale_and_pointing(parity, rotation, scale):
    image, wcs, sky = star_field(np.random.default_rng(3), parity, rotation, scale)
    camera = load_camera("small")
    found = solve(find_stars(image), camera, camera.detector(0), image.shape, sky, (296.2404, -14.8031))
    assert found is not None
    assert found.parity_flipped_x is parity
    assert found.rotation == pytest.approx(rotation, abs=0.1)
    assert found.scale_arcsec == pytest.approx(scale, rel=1e-3)
    # The boresight is the centre of the described detector, which is larger than this image.
    ra, dec = wcs.all_pix2world([camera.detector(0).centre], 0)[0]
    assert found.ra == pytest.approx(ra, abs=2e-4)
    assert found.dec == pytest.approx(dec, abs=2e-4)


def test_no_solution_is_invented_for_another_field():
    rng = np.random.default_rng(4)
    image, _, sky = star_field(rng, True, 1.5, 1.03)
    camera = load_camera("small")
    elsewhere = sky + rng.normal(0, 0.02, sky.shape)
    assert (
        solve(find_stars(image), camera, camera.detector(0), image.shape, elsewhere, (296.2404, -14.8031))
        is None
    )


def test_check_solves_what_the_draft_could_not_know(tmp_path, monkeypatch, capsys):
    image, _, sky = star_field(np.random.default_rng(5), True, 93.0, 1.05)
    path = write_single(tmp_path / "light.fit", {**MAXIM_HEADER, "INSTRUME": "Tarot"}, image)
    Table({"ra": sky[:, 0], "dec": sky[:, 1], "r_mag": np.linspace(10, 15, len(sky))}).write(
        tmp_path / "stars.csv"
    )
    monkeypatch.delenv(SEARCH_PATH_VARIABLE, raising=False)
    assert run("instrument", "new", str(tmp_path / "Tarot"), "--from", str(path)) == 0
    assert "parity_flipped_x" in capsys.readouterr().out
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, "")
    options = ["--catalogue", str(tmp_path / "stars.csv"), "--pictures", str(tmp_path / "pictures")]
    assert run("instrument", "check", str(tmp_path / "Tarot"), str(path), *options) == 0
    report = capsys.readouterr().out
    assert "parity_flipped_x: true" in report
    assert "rotation 93.0" in report
    assert "plate_scale_arcsec_per_mm: 116." in report
    assert (tmp_path / "pictures" / "light.png").is_file()


def test_list_names_each_instrument_and_its_folder(drafted, capsys):
    assert run("instrument", "list") == 0
    listed = capsys.readouterr().out
    assert "Moravian G2-1600" in listed
    assert str(load_instrument("DECam").folder) in listed
