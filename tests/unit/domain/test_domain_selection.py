"""Which pipelines a visit gets."""

import pytest

from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.domain.selection import DegreeRange, PipelineSelection, SelectionNode
from prompt_processing.domain.visit import NextVisit


def visit(**changes):
    return NextVisit.parse(
        {
            "salIndex": 2,
            "groupId": "group",
            "coordinateSystem": 2,
            "position": [10.0, -30.0],
            "rotationSystem": 2,
            "duration": 30.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "survey": "wide",
            "private_sndStamp": 0.0,
            **changes,
        }
    )


def select(*nodes, of=None, centre=(10.0, -30.0)):
    return PipelineSelection(nodes).select(of or visit(), lambda: centre)


def test_the_first_node_that_matches_decides():
    assert select(
        SelectionNode(("a.yaml",), survey="deep"),
        SelectionNode(("b.yaml", "c.yaml"), survey="wide"),
        SelectionNode(("d.yaml",)),
    ) == ("b.yaml", "c.yaml")


def test_no_matching_node_is_an_error():
    with pytest.raises(NonRetriableError, match="wide"):
        select(SelectionNode(("a.yaml",), survey="deep"))


def test_an_empty_node_runs_nothing():
    assert select(SelectionNode(())) == ()


@pytest.mark.parametrize(
    ("minimum", "maximum", "inside", "outside"),
    [
        (10.0, 20.0, (10.0, 15.0, 20.0), (9.9, 20.1, 350.0)),
        (350.0, 10.0, (350.0, 0.0, 10.0), (349.9, 10.1, 180.0)),
        (-10.0, 10.0, (350.0, 0.0, 10.0), (349.9, 10.1)),
        (0.0, 360.0, (0.0, 180.0, 359.9), ()),
    ],
)
def test_right_ascension_wraps_and_ends_are_included(minimum, maximum, inside, outside):
    interval = DegreeRange(minimum, maximum, wraps=True)
    assert all(degrees in interval for degrees in inside)
    assert not any(degrees in interval for degrees in outside)


def test_declination_does_not_wrap():
    assert -30.0 in DegreeRange(-30.0, 0.0)
    assert -30.1 not in DegreeRange(-30.0, 0.0)


def test_a_visit_without_a_position_matches_no_node_with_one():
    nowhere = visit(coordinateSystem=1)
    nodes = (SelectionNode(("a.yaml",), dec=DegreeRange(-90.0, 90.0)), SelectionNode(("b.yaml",)))
    assert select(*nodes, of=nowhere, centre=None) == ("b.yaml",)


def test_the_position_is_the_detectors_unless_the_boresight_is_asked_for():
    ra = DegreeRange(9.0, 11.0, wraps=True)
    nodes = (SelectionNode(("a.yaml",), ra=ra), SelectionNode(("b.yaml",)))
    assert select(*nodes, centre=(12.0, -30.0)) == ("b.yaml",)
    nodes = (SelectionNode(("a.yaml",), ra=ra, coordinate_type="boresight"), SelectionNode(("b.yaml",)))
    assert select(*nodes, centre=(12.0, -30.0)) == ("a.yaml",)


@pytest.mark.parametrize(("value", "expected"), [(True, "a.yaml"), (False, "b.yaml"), (None, "b.yaml")])
def test_a_map_must_be_true_at_the_position(value, expected):
    nodes = (SelectionNode(("a.yaml",), membership=lambda ra, dec: value), SelectionNode(("b.yaml",)))
    assert select(*nodes) == (expected,)


def test_two_pipelines_of_one_stem_are_refused():
    with pytest.raises(ValueError, match="ApPipe"):
        SelectionNode(("x/ApPipe.yaml", "y/ApPipe.yaml"))


def test_all_paths_are_listed_once():
    nodes = (SelectionNode(("a.yaml", "b.yaml")), SelectionNode(("b.yaml", "c.yaml")), SelectionNode(()))
    assert PipelineSelection(nodes).paths == ("a.yaml", "b.yaml", "c.yaml")
