"""An instrument is a folder: where it is found, and what is said of a faulty one."""

import logging
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from astropy.time import Time, TimeDelta
from camera_files import MAXIM_HEADER
from pydantic import ValidationError

from prompt_processing.butler.pipelines.files import pipelines_folder
from prompt_processing.cli.main import run
from prompt_processing.instruments import (
    HeaderError,
    InstrumentError,
    instrument_names,
    load_camera,
    load_instrument,
    translate,
)
from prompt_processing.instruments.description import registry
from prompt_processing.instruments.description.cards import Identity, described_identity
from prompt_processing.instruments.description.document import AmplifierDocument, HeaderDocument
from prompt_processing.instruments.description.rules import AngleRule, KeywordRule, TimeRule, matches
from prompt_processing.instruments.description.sections import places_of
from prompt_processing.settings.worker import Settings

SMALL = Path(load_instrument("small").folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Copy the folder of the small camera under another name to the search path."""

    def make(name: str, below: str = "cameras", **changes) -> Path:
        made = tmp_path / below / name
        shutil.copytree(SMALL, made)
        document = yaml.safe_load((made / "instrument.yaml").read_text())
        document |= {"name": name, "recognised_by": [{"INSTRUME": name}], **changes}
        for key in [key for key, value in document.items() if value is None]:
            del document[key]
        (made / "instrument.yaml").write_text(yaml.safe_dump(document))
        monkeypatch.setenv(registry.SEARCH_PATH_VARIABLE, str(tmp_path / below))
        return made

    return make


def test_instrument_on_the_search_path_is_one_like_all_others(folder):
    made = folder("Tarot")
    assert "Tarot" in instrument_names()
    assert load_instrument("Tarot").folder == made
    assert load_camera("Tarot").detector(0).width == 1530
    assert translate({**MAXIM_HEADER, "INSTRUME": "TAROT"}).instrument == "Tarot"
    assert pipelines_folder("Tarot") == made / "pipelines"


def test_search_path_may_name_the_folder_itself(folder, monkeypatch):
    made = folder("Tarot")
    monkeypatch.setenv(registry.SEARCH_PATH_VARIABLE, f"/:{made}")
    assert load_instrument("Tarot").folder == made


def test_folder_is_loaded_without_a_search_path(folder, monkeypatch):
    made = folder("Tarot")
    monkeypatch.delenv(registry.SEARCH_PATH_VARIABLE)
    assert load_instrument(made).name == load_instrument(str(made)).name == "Tarot"
    with pytest.raises(InstrumentError, match="PROMPT_INSTRUMENT_PATH names folders"):
        load_instrument("Tarot")


def test_search_path_precedes_the_package(folder):
    folder("small", plate_scale_arcsec_per_mm=99.0)
    assert load_camera("small").plate_scale_arcsec_per_mm == 99.0


def test_instrument_of_an_installed_package_is_found(folder, tmp_path, monkeypatch):
    made = folder("Tarot")
    package = tmp_path / "site" / "tarot_camera"
    shutil.copytree(made, package)
    (package / "__init__.py").touch()
    metadata = tmp_path / "site" / "tarot_camera-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tarot-camera\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[prompt_processing.instruments]\nTarot = tarot_camera\nGone = no_such\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.setenv(registry.SEARCH_PATH_VARIABLE, str(tmp_path / "site" / "tarot_camera-1.0.dist-info"))
    assert load_instrument("Tarot").folder == package


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"pixel_mm": -1, "surprise": 1}, r"pixel_mm: .*greater than 0.*surprise: Extra inputs"),
        ({"header": None}, "either header or translator"),
        (
            {"detectors": [{"id": 0, "name": "CCD", "kind": "EEV"}]},
            "kind 'EEV', which amplifier_kinds does not have",
        ),
        ({"detectors": "missing.csv"}, r"missing\.csv"),
        ({"detectors": []}, "has no detectors"),
        ({"electronics": "none.csv"}, r"none\.csv"),
    ],
)
def test_faulty_description_is_named_with_all_values_at_fault(folder, changes, problem):
    made = folder("Tarot", **changes)
    with pytest.raises(InstrumentError, match=problem) as caught:
        load_instrument("Tarot")
    assert str(made / "instrument.yaml") in caught.value.args[0]


def test_faulty_description_does_not_stop_other_instruments(folder, caplog):
    folder("Tarot", pixel_mm=0)
    with caplog.at_level(logging.WARNING):
        assert translate(MAXIM_HEADER).instrument == "small"
    assert "Tarot is ignored" in caplog.text


def test_command_and_worker_report_a_faulty_description_at_their_start(folder, capsys):
    folder("Tarot", pixel_mm=0)
    assert run("simulate", "--instrument", "Tarot", "night") == 2
    assert "pixel_mm: Input should be greater than 0" in capsys.readouterr().err
    with pytest.raises(ValidationError, match="pixel_mm: Input should be greater than 0"):
        Settings.model_validate({"rubin_instrument": "Tarot"})


def test_missing_folder_on_the_search_path_is_an_error(monkeypatch):
    monkeypatch.setenv(registry.SEARCH_PATH_VARIABLE, "/no/such/folder")
    with pytest.raises(InstrumentError, match="PROMPT_INSTRUMENT_PATH: /no/such/folder is not a folder"):
        instrument_names()


def test_corrections_beside_a_description_apply(folder):
    made = folder("Tarot")
    (made / "header_corrections.yaml").write_text(
        "- {instruments: [Tarot], why: The wheel was named twice., where: {FILTER: r}, set: {FILTER: g}}\n"
    )
    assert translate({**MAXIM_HEADER, "INSTRUME": "Tarot"}).band == "g"
    assert translate(MAXIM_HEADER).band == "r"


HEADER = {
    "A": "x",
    "B": "  ",
    "C": 3,
    "WHEEL1": "Clear",
    "WHEEL2": "r",
    "NAME": "IMG_0042.fit",
    "NAN": float("nan"),
}


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("A", "x"),
        (["B", "NAN", "MISSING", "C"], 3),
        ({"keyword": "B", "constant": "none"}, "none"),
        ({"keywords": ["WHEEL1", "WHEEL2"], "skip": ["clear"]}, "r"),
        ({"keywords": ["WHEEL1"], "skip": ["clear"]}, "Clear"),
        ({"keyword": "A", "values": {"X": "light"}}, "light"),
        ({"keyword": "NAME", "pattern": r"_(\d+)\."}, "0042"),
        ({"keyword": "NAME", "pattern": "(flat)", "otherwise": "science"}, "science"),
        ({"keyword": "NAME", "pattern": "(IMG)", "values": {"img": "light"}, "otherwise": "flat"}, "light"),
        ({"keyword": "A", "values": {"Y": "bias"}, "otherwise": "science"}, "science"),
        ("B", None),
    ],
)
def test_rule_finds_the_value(rule, value):
    assert KeywordRule.model_validate(rule).find(HEADER) == value


@pytest.mark.parametrize(
    ("text", "number"), [("30.0 s", 30), ("-.5e1sec.", -5), ("12", 12), ("7 \u00b5m", 7), ("90%", 90)]
)
def test_unit_behind_a_number_is_no_error(text, number):
    assert KeywordRule.model_validate("A").number({"A": text}) == number


@pytest.mark.parametrize("text", ["about 30 s", "30 s 5", "s"])
def test_text_is_no_number(text):
    with pytest.raises(HeaderError, match="is not a number"):
        KeywordRule.model_validate("A").number({"A": text})


def test_begin_follows_from_another_moment_of_the_exposure(folder):
    header = yaml.safe_load((SMALL / "instrument.yaml").read_text())["header"]
    made = folder("Tarot", header={**header, "begin": {"keyword": "DATE-AVG", "moment": "middle"}})
    begin = Time("2024-08-10T13:20:00", scale="utc")
    identity = Identity(exposure=1, group="1", begin=begin, end=begin + TimeDelta(30, format="sec"))
    cards = described_identity(load_instrument(made.name), identity)
    assert cards["DATE-AVG"] == "2024-08-10T13:20:15.000"
    observation = translate({**MAXIM_HEADER, "INSTRUME": "TAROT", "EXPTIME": 30.0, **cards})
    assert observation.begin.utc.isot == begin.isot


def test_numbers_are_converted():
    rule = KeywordRule.model_validate({"keyword": "C", "multiply": -1, "add": 90})
    assert rule.number(HEADER) == 87
    assert rule.cards(87) == {"C": 3}


@pytest.mark.parametrize(
    ("rule", "header", "utc"),
    [
        ({"keyword": "D"}, {"D": "2021-09-17 T10:25:28"}, "2021-09-17T10:25:28.000"),
        ({"keyword": "D"}, {"D": "2024-08-10 13:20:07"}, "2024-08-10T13:20:07.000"),
        ({"keyword": "D"}, {"D": "2024-08-10T13:20:07.4551234Z"}, "2024-08-10T13:20:07.455"),
        (
            {"keyword": "D", "time_keywords": ["UT"]},
            {"D": "2013-08-02", "UT": "16:41:00"},
            "2013-08-02T16:41:00.000",
        ),
        ({"keyword": "D", "add_hours": 7}, {"D": "2024-08-10T23:00:00"}, "2024-08-11T06:00:00.000"),
        ({"keyword": "D", "format": "mjd"}, {"D": 56506.5}, "2013-08-02T12:00:00.000"),
        ({"keyword": "D", "format": "jd"}, {"D": 2456507.0}, "2013-08-02T12:00:00.000"),
        ({"keyword": "D", "format": "unix"}, {"D": 1375444800.5}, "2013-08-02T12:00:00.500"),
        ({"keyword": "D"}, {"D": "2024-08-10T23:00:00-07:00"}, "2024-08-11T06:00:00.000"),
        (
            {"keyword": "D", "time_keywords": ["LT"]},
            {"D": "2024-08-10", "LT": "13:20:07.5 +0530"},
            "2024-08-10T07:50:07.500",
        ),
        ({"keyword": "D"}, {"D": "2024-08-10T13:20:37", "TIMESYS": "TAI"}, "2024-08-10T13:20:00.000"),
    ],
)
def test_time_is_read_and_written(rule, header, utc):
    found = TimeRule.model_validate(rule)
    time = found.time(header)
    assert time.utc.isot == utc
    assert abs((found.time(found.cards(time)) - time).sec) < 1e-3


@pytest.mark.parametrize(
    ("rule", "value", "degrees"),
    [
        ({"keyword": "R", "unit": "hours"}, "18:02:42.907", 270.678779),
        ({"keyword": "R", "unit": "hours"}, "18 02 42.907", 270.678779),
        ({"keyword": "R", "unit": "hours", "number_unit": "deg"}, 270.678779, 270.678779),
        ({"keyword": "R"}, "-16 10 58.8", -16.183),
    ],
)
def test_angle_is_read_and_written(rule, value, degrees):
    found = AngleRule.model_validate(rule)
    assert found.degrees({"R": value}) == pytest.approx(degrees, abs=1e-6)
    if found.number_unit is None:
        assert found.degrees(found.cards(degrees)) == pytest.approx(degrees, abs=1e-6)


def test_angle_of_headers_without_one_is_the_constant():
    rule = AngleRule.model_validate({"keyword": "R", "constant": 339.267})
    assert (rule.degrees({}), rule.degrees({"R": 12.0})) == (339.267, 12.0)


def test_conditions_on_headers():
    assert matches({"I": "ZWO Cam "}, {"I": ["other", "zwo cam"]})
    assert matches({"I": "ZWO Cam"}, {"I": {"matches": "zwo.*"}, "J": {"defined": False}})
    assert not matches({}, {"I": "x"})
    assert not matches({"I": 3}, {"I": {"defined": False}})


def test_quadrants_with_reversed_sections_make_one_image():
    quadrants = [
        AmplifierDocument(
            name="A", hdu=0, data="[1:5,1:4]", overscan="[6:8,1:4]", detector_section="[11:15,4:1]"
        ),
        AmplifierDocument(
            name="B", hdu=1, data="[1:5,1:4]", overscan="[6:8,1:4]", detector_section="[20:16,4:1]"
        ),
    ]
    left, right = places_of(quadrants, 8, 4)
    assert (left.x0, left.y0, left.flip_x, left.flip_y) == (0, 0, False, True)
    assert (right.x0, right.y0, right.flip_x, right.flip_y) == (5, 0, True, True)


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"data": "[1:5,1:4]", "overscan": "[5:8,1:4]"}, "overlaps"),
        ({"data": "[1:9,1:4]"}, "outside the image of 8 x 4"),
        ({"data": "[1:5,1:4]", "detector_section": "[1:4,1:4]"}, "has not the size"),
    ],
)
def test_impossible_sections_are_refused(sections, problem):
    with pytest.raises(ValueError, match=problem):
        places_of([AmplifierDocument(name="A", **sections)], 8, 4)


def test_rule_without_keyword_or_constant_is_refused():
    with pytest.raises(ValueError, match="names keywords or a constant"):
        HeaderDocument.model_validate({"detector": {"multiply": 2}})
