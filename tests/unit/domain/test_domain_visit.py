"""The announced visit and one detector's share of it."""

import json

import pytest

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.errors import InvalidVisitError, MalformedMessageError
from prompt_processing.domain.visit import CoordinateSystem, Dome, FannedOutVisit, NextVisit, RotationSystem

MESSAGE = {
    "salIndex": 2,
    "scriptSalIndex": 300,
    "groupId": "2025-06-10T08:18:28.123",
    "coordinateSystem": 2,
    "position": [155.5, -4.25],
    "startTime": 1_749_543_545.0,
    "rotationSystem": 2,
    "cameraAngle": 12.5,
    "filters": "r_57",
    "dome": 2,
    "duration": 38.0,
    "nimages": 1,
    "instrument": "LSSTCam",
    "survey": "BLOCK-365",
    "totalCheckpoints": 1,
    "private_sndStamp": 1_749_543_525.0,
    "private_efdStamp": 0.0,
    "private_identity": "ScriptQueue:2",
    "private_seqNum": 12,
}


def visit(**changes):
    return FannedOutVisit.parse({**MESSAGE, "detector": 94, **changes})


def test_a_message_becomes_a_visit_and_unknown_fields_are_ignored():
    announced = NextVisit.parse({**MESSAGE, "somethingNew": [1, 2]})
    assert announced.groupId == "2025-06-10T08:18:28.123"
    assert announced.coordinateSystem is CoordinateSystem.ICRS
    assert announced.for_detector(94) == visit()
    assert not hasattr(announced, "private_seqNum")


def test_a_string_that_holds_json_is_as_good():
    assert FannedOutVisit.parse(json.dumps({**MESSAGE, "detector": 94})) == visit()


@pytest.mark.parametrize("data", ["{", "[]", "3", None, 7, [], "", b"\xff"])
def test_what_is_no_object_is_malformed(data):
    with pytest.raises(MalformedMessageError):
        FannedOutVisit.parse(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("groupId", ""),
        ("coordinateSystem", 9),
        ("position", [1.0]),
        ("position", [float("nan"), 0.0]),
        ("nimages", -1),
        ("duration", float("inf")),
        ("detector", "front"),
        ("detector", -1),
        ("detector", True),
        ("coordinateSystem", True),
        ("position", [True, 2.0]),
        ("dome", True),
        ("survey", False),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(field, value):
    with pytest.raises(MalformedMessageError, match=field):
        visit(**{field: value})


def test_a_missing_field_is_named():
    with pytest.raises(MalformedMessageError, match="detector"):
        FannedOutVisit.parse(MESSAGE)


def test_a_visit_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        visit().detector = 3


def test_position_and_rotation_are_known_only_in_usable_systems():
    assert (visit().ra, visit().dec, visit().rotation) == (155.5, -4.25, 12.5)
    assert visit(position=[-10.0, 0.0]).ra == 350.0
    nowhere = visit(coordinateSystem=CoordinateSystem.NONE)
    assert nowhere.ra is None
    assert nowhere.dec is None
    assert not nowhere.has_region
    assert not visit(rotationSystem=RotationSystem.NONE).has_region


def test_a_visit_without_coordinates_is_usable():
    visit(coordinateSystem=1, position=None, rotationSystem=1).require_usable()


@pytest.mark.parametrize(
    "changes",
    [
        {"coordinateSystem": 3},
        {"coordinateSystem": 4},
        {"rotationSystem": 3},
        {"rotationSystem": 4},
        {"position": None},
        {"position": [0.0, 91.0]},
        {"instrument": ""},
    ],
)
def test_unusable_fields_are_refused(changes):
    with pytest.raises(InvalidVisitError):
        visit(**changes).require_usable()


def test_age_minds_that_the_stamp_is_tai():
    now = 1_800_000_000.0
    assert visit(private_sndStamp=utc_to_tai(now) - 10.0).age(now) == pytest.approx(10.0)


def test_a_stream_entry_holds_strings_and_comes_back():
    entry = visit().to_stream_entry()
    assert all(isinstance(value, str) for value in entry.values())
    assert entry["position"] == "[155.5, -4.25]"
    assert FannedOutVisit.from_stream_entry(entry) == visit()
    as_bytes = {name.encode(): value.encode() for name, value in entry.items()}
    assert FannedOutVisit.from_stream_entry(as_bytes) == visit()


def test_a_stream_entry_without_a_position_comes_back():
    back = FannedOutVisit.from_stream_entry(visit(coordinateSystem=1, position=None).to_stream_entry())
    assert back == visit(coordinateSystem=1, position=(0.0, 0.0))
    assert back.ra is None


@pytest.mark.parametrize("broken", [{"position": "[1,"}, {"detector": "x"}, {b"groupId": b"\xff"}])
def test_a_broken_stream_entry_is_malformed(broken):
    with pytest.raises(MalformedMessageError):
        FannedOutVisit.from_stream_entry({**visit().to_stream_entry(), **broken})


@pytest.mark.parametrize("dec", [-90.0, 90.0])
def test_the_poles_can_be_observed(dec):
    visit(position=[10.0, dec]).require_usable()


@pytest.mark.parametrize("dec", [-90.0001, 90.0001])
def test_beyond_the_poles_there_is_no_sky(dec):
    with pytest.raises(InvalidVisitError, match="declination"):
        visit(position=[10.0, dec]).require_usable()


def test_a_group_is_as_long_as_the_butler_takes():
    visit(groupId="g" * 64).require_usable()
    with pytest.raises(InvalidVisitError):
        visit(groupId="g" * 65).require_usable()


def test_what_a_message_leaves_out_is_unknown():
    optional = {
        "startTime",
        "scriptSalIndex",
        "cameraAngle",
        "filters",
        "survey",
        "totalCheckpoints",
        "position",
    }
    announced = NextVisit.parse(
        {name: value for name, value in MESSAGE.items() if name not in optional} | {"coordinateSystem": 1}
    )
    assert (announced.startTime, announced.cameraAngle, announced.scriptSalIndex) == (0.0, 0.0, 0)
    assert (announced.filters, announced.survey, announced.position) == ("", "", None)


@pytest.mark.parametrize("field", ["scriptSalIndex", "startTime", "dome", "nimages", "totalCheckpoints"])
@pytest.mark.parametrize("value", [None, float("nan")])
def test_what_no_step_needs_may_be_unknown(field, value):
    assert getattr(NextVisit.parse({**MESSAGE, field: value}), field) in (0, Dome.EITHER)


def test_what_no_step_needs_may_be_unknown_in_a_stream():
    entry = NextVisit.parse(MESSAGE).for_detector(94).to_stream_entry()
    unknown = dict.fromkeys(("scriptSalIndex", "startTime", "dome", "nimages", "totalCheckpoints"), "nan")
    assert FannedOutVisit.from_stream_entry({**entry, **unknown}).startTime == 0.0


@pytest.mark.parametrize("position", [None, [float("nan")] * 2, [], "[nan, nan]"])
def test_without_a_coordinate_system_any_position_will_do(position):
    nowhere = {"coordinateSystem": 1, "position": position, "rotationSystem": 1, "cameraAngle": float("nan")}
    visit = FannedOutVisit.parse({**MESSAGE, **nowhere, "detector": 3})
    assert (visit.position, visit.rotation) == (None, None)
    visit.require_usable()
    # Their worker needs a position in its stream, and their fan-out writes lists as Python does.
    entry = visit.to_stream_entry()
    assert entry["position"] == "[0.0, 0.0]"
    assert FannedOutVisit.from_stream_entry({**entry, "position": str(position)}).position is None


def test_a_position_must_be_one_where_the_system_needs_it():
    with pytest.raises(MalformedMessageError, match="position"):
        NextVisit.parse({**MESSAGE, "coordinateSystem": 2, "position": [float("nan")] * 2})
    with pytest.raises(MalformedMessageError, match="cameraAngle"):
        NextVisit.parse({**MESSAGE, "rotationSystem": 2, "cameraAngle": None})
