"""Under which tags containers are published."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_delivery.release.errors import ReleaseError
from prompt_delivery.release.stack_label import StackLabel
from prompt_delivery.release.tags import Source, base_tags, service_tags

WEEKLY = StackLabel("w_2026_43")
MAIN = Source("main")
TICKET = Source("tickets/DM-12345")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@pytest.mark.parametrize(
    ("source", "requested", "latest", "expected"),
    [
        (MAIN, None, False, ["w_2026_43"]),
        (MAIN, "w_2026_43", False, ["w_2026_43"]),
        (MAIN, "w_latest", False, ["w_2026_43", "w_latest"]),
        (MAIN, "d_latest", False, ["w_2026_43", "d_latest"]),
        (MAIN, "d_2026_10_24", False, ["w_2026_43", "d_2026_10_24"]),
        (MAIN, "w_latest", True, ["w_2026_43", "w_latest", "latest"]),
        (Source("main", automatic=True), None, False, ["w_2026_43", "latest"]),
        (TICKET, None, False, ["DM-12345-w_2026_43"]),
        (TICKET, "w_latest", True, ["DM-12345-w_2026_43", "DM-12345-w_latest", "DM-12345-latest"]),
        (Source("tickets/DM-12345", pull_request=True, automatic=True), None, False, ["DM-12345-w_2026_43"]),
        (Source("u/someone/fast-warp"), None, False, ["fast-warp-w_2026_43"]),
        # A fork's own main is not the project's.
        (Source("main", pull_request=True, automatic=True), None, False, ["main-w_2026_43"]),
    ],
)
def test_base_container_has_the_tags_of_the_playbook(
    source: Source, requested: str | None, latest: bool, expected: list[str]
) -> None:
    label = StackLabel.parse(requested) if requested else None
    assert base_tags(source, WEEKLY, label, latest) == expected


def test_base_with_another_middleware_than_was_asked_for_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"w_2026_40 was requested, but .* has w_2026_43"):
        base_tags(MAIN, WEEKLY, StackLabel("w_2026_40"))


@pytest.mark.parametrize(
    ("source", "base", "bases", "expected"),
    [
        (MAIN, "latest", ["latest"], ["latest", "w_2026_43"]),
        (MAIN, "w_2026_43", ["w_2026_43"], ["w_2026_43"]),
        (MAIN, "latest", ["latest", "w_2026_30"], ["latest"]),
        (MAIN, "w_2026_30", ["latest", "w_2026_30"], ["w_2026_30"]),
        (TICKET, "latest", ["latest"], ["DM-12345-latest", "DM-12345-w_2026_43"]),
        # A base built from the same branch has the prefix already.
        (TICKET, "DM-12345-latest", ["DM-12345-latest"], ["DM-12345-latest", "DM-12345-w_2026_43"]),
        (
            Source("u/someone/fast-warp"),
            "d_latest",
            ["d_latest"],
            ["fast-warp-d_latest", "fast-warp-w_2026_43"],
        ),
    ],
)
def test_service_container_has_the_tags_of_its_base(
    source: Source, base: str, bases: list[str], expected: list[str]
) -> None:
    assert service_tags(source, base, bases, WEEKLY) == expected


@pytest.mark.parametrize(
    ("bases", "message"),
    [
        ([], "is empty"),
        (["latest", "latest"], "twice"),
        (["latest", "DM-12345-latest"], "must not be merged"),
        (["fast-warp-w_2026_43"], "must not be merged"),
    ],
)
def test_unfit_list_of_bases_is_refused_on_main(bases: list[str], message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        service_tags(MAIN, "latest", bases, WEEKLY)


def test_two_bases_never_fight_over_one_tag() -> None:
    bases = ["latest", "w_2026_43"]
    tags = [tag for base in bases for tag in service_tags(MAIN, base, bases, WEEKLY)]
    assert len(set(tags)) == len(tags)


def test_branch_without_a_usable_name_is_refused() -> None:
    with pytest.raises(ReleaseError, match="has no characters for a tag"):
        base_tags(Source("u/someone/…"), WEEKLY)


@given(st.text(min_size=1, max_size=200), st.booleans())
def test_any_branch_gives_tags_that_registries_take_or_is_refused(branch: str, pull_request: bool) -> None:
    source = Source(branch, pull_request)
    try:
        tags = base_tags(source, WEEKLY, latest=True)
    except ReleaseError:
        return
    assert all(TAG.fullmatch(tag) for tag in tags)
    assert source.is_main or not {"latest", "w_2026_43"} & set(tags)


@pytest.mark.parametrize(
    ("version", "label"),
    [
        ("30.2026.4300", "w_2026_43"),
        ("30.2026.500", "w_2026_05"),
        ("30.0.3", "v30_0_3"),
        ("30.0.1rc2", "v30_0_1_rc2"),
    ],
)
def test_middleware_version_is_known_by_its_label(version: str, label: str) -> None:
    assert StackLabel.of_version(version).name == label
    assert StackLabel.parse(label).name == label


@pytest.mark.parametrize(
    ("label", "newest"),
    [
        ("w_2026_43", "30.2026.4399"),
        ("w_2026_05", "30.2026.599"),
        ("d_2026_10_24", "30.2026.4399"),
        ("v29_1_0", "29.1.0"),
        ("w_latest", None),
    ],
)
def test_label_bounds_the_versions_of_packages(label: str, newest: str | None) -> None:
    assert StackLabel.parse(label).newest_version(30) == newest


@pytest.mark.parametrize(
    "text", ["latest", "w_2026_54", "w_2026_4", "d_2026_13_01", "2026_43", "", "w_2026_43x"]
)
def test_what_is_no_label_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError):
        StackLabel.parse(text)


@pytest.mark.parametrize(
    ("environment", "source"),
    [
        ({}, None),
        (
            {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_HEAD_REF": "main", "GITHUB_REF_NAME": "7/merge"},
            Source("main", pull_request=True, automatic=True),
        ),
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_REF_NAME": "main"}, Source("main", automatic=True)),
        (
            {"GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_REF_NAME": "tickets/DM-1"},
            Source("tickets/DM-1"),
        ),
    ],
)
def test_workflow_tells_what_is_built(environment: dict[str, str], source: Source | None) -> None:
    assert Source.of_workflow(environment) == source
