"""What a release says of itself, and which must not be made."""

import datetime
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from prompt_delivery.release.cli import main
from prompt_delivery.release.errors import ReleaseError
from prompt_delivery.release.labels import image_labels
from prompt_delivery.release.notes import (
    PreviousRelease,
    changes_of,
    check_release,
    previous_release,
    release_notes,
)
from prompt_delivery.release.project_history import ProjectHistory
from prompt_delivery.release.recorded_versions import (
    RecordedVersions,
    installed_schemas,
    locked_versions,
    read_versions,
    recorded_versions,
)
from prompt_delivery.release.release_version import ReleaseVersion

PROJECT = Path(__file__).parents[4]
NEW = RecordedVersions("30.2026.4300", "10.0.0", "11.1", {"numpy": "2.5.5", "numba": "0.68.1"})
OLD = replace(NEW, middleware="30.2026.4000", packages={"numpy": "2.5.4", "numba": "0.68.1"})
PREVIOUS = PreviousRelease(ReleaseVersion.parse("1.2.3"), OLD)


def parse(text: str) -> ReleaseVersion:
    return ReleaseVersion.parse(text)


@pytest.mark.parametrize("text", ["0.1.0", "1.2.3", "10.20.30", "2.0.0rc1", "2.0.0a3", "2.0.0b10"])
def test_release_has_a_semantic_version_as_pep_440_writes_it(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "v1.2.3",
        "1.2",
        "1.2.3.4",
        "01.2.3",
        "1.2.3-rc1",
        "1.2.3rc",
        "1.2.3.dev1",
        "1.2.3+local",
        "",
        "1.2.3\n",
    ],
)
def test_any_other_tag_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError):
        parse(text)


def test_tag_with_a_v_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(ReleaseError, match=r"no v at the beginning: 1\.2\.3"):
        parse("v1.2.3")


def test_versions_compare_as_they_follow_each_other() -> None:
    texts = ["1.2.3", "2.0.0a1", "2.0.0b1", "2.0.0rc1", "2.0.0rc2", "2.0.0rc10", "2.0.0", "2.0.1", "10.0.0"]
    assert [str(each) for each in sorted(map(parse, reversed(texts)))] == texts


def test_release_follows_the_final_one_before_it() -> None:
    tags = ["w_2026_43", "v9.9.9", "1.2.3", "1.10.0", "1.3.0rc1", "2.0.0"]
    assert str(previous_release(parse("1.3.0"), tags)) == "1.2.3"
    assert str(previous_release(parse("1.11.0"), tags)) == "1.10.0"
    assert previous_release(parse("1.0.0"), tags) is None


def test_notes_name_middleware_and_schemas_and_whether_they_changed() -> None:
    notes = release_notes(parse("1.3.0"), NEW, PREVIOUS, "Faster.", ["Warp in half the time (A)"])
    assert "| Middleware | w_2026_43 | **changed** from w_2026_40 |" in notes
    assert "| APDB schema | 10.0.0 | unchanged |" in notes
    assert "| Alert schema | 11.1 | unchanged |" in notes
    assert "| `numpy` | 2.5.5 | **changed** from 2.5.4 |" in notes
    assert "Faster." in notes
    assert "- Warp in half the time (A)" in notes


def test_notes_have_the_releases_own_section_of_the_change_log() -> None:
    log = "# Changelog\n\n## Unreleased\n\n- New.\n\n## 1.2.3 (2026-11-01)\n\n- Old.\n"
    assert changes_of(parse("1.2.3"), log) == "- Old."
    assert changes_of(parse("1.3.0"), log) == "- New."
    assert changes_of(parse("1.3.0"), "") == ""


@pytest.mark.parametrize("changed", [{"apdb_schema": "10.1.0"}, {"alert_schema": "12.0"}])
def test_changed_schema_without_a_major_version_is_refused(changed: dict[str, str]) -> None:
    versions = replace(NEW, **changed)
    with pytest.raises(ReleaseError, match=r"schema changed from .* to .* since 1\.2\.3.* release 2\.0\.0"):
        check_release(parse("1.3.0"), versions, PREVIOUS)
    check_release(parse("2.0.0"), versions, PREVIOUS)
    assert "**A schema changed**" in release_notes(parse("2.0.0"), versions, PREVIOUS)


def test_release_is_made_of_a_commit_of_its_branch(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    git("init", "--initial-branch", "main")
    git("commit", "--allow-empty", "-m", "one")
    git("checkout", "-b", "tickets/DM-1")
    ProjectHistory(tmp_path).require_on("main")
    git("commit", "--allow-empty", "-m", "two")
    with pytest.raises(ReleaseError, match="not on main"):
        ProjectHistory(tmp_path).require_on("main")
    # As a workflow has it: a clone whose only branch is a tag's commit.
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    ProjectHistory(tmp_path).require_on("main")


def test_recorded_schemas_are_those_that_are_installed() -> None:
    versions = recorded_versions(PROJECT)
    assert {"apdb": versions.apdb_schema, "alert": versions.alert_schema} == installed_schemas()


def test_package_that_is_locked_by_pythons_version_has_both_versions() -> None:
    lock = "a==1 ; python_version < '3.12' \\\n    --hash=sha256:0\na==2 ; python_version >= '3.12' \\\n"
    assert locked_versions(lock) == {"a": "1 or 2"}


@pytest.mark.parametrize(
    ("lock", "record", "message"),
    [
        ("", "{}", "names no version of lsst-daf-butler"),
        ("lsst-daf-butler==30.2026.4300 \\", "{}", "does not name the schemas"),
        ("lsst-daf-butler==30.2026.4300 \\", "[", "does not name the schemas"),
    ],
)
def test_incomplete_record_is_refused(lock: str, record: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        read_versions(lock, record)


def test_base_names_what_it_is_made_of_and_service_inherits_it() -> None:
    when = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    base = image_labels("base", NEW, "1.3.0", "abc", when)
    assert base["org.lsst.prompt-processing.stack"] == "w_2026_43"
    assert base["org.lsst.prompt-processing.apdb-schema"] == "10.0.0"
    assert base["org.lsst.prompt-processing.alert-schema"] == "11.1"
    service = image_labels("service", NEW, "1.3.0", "abc", when, "https://example.org/project")
    assert service["org.opencontainers.image.version"] == "1.3.0"
    assert service["org.opencontainers.image.revision"] == "abc"
    assert service["org.opencontainers.image.source"] == "https://example.org/project"
    assert not [name for name in service if name.startswith("org.lsst")]


def test_refusal_is_told_in_one_line_and_by_the_exit_status(caplog: pytest.LogCaptureFixture) -> None:
    assert main(["--project", str(PROJECT), "release-tags", "v1.0.0"]) == 1
    assert len(caplog.messages) == 1


def test_tags_are_printed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--project", str(PROJECT), "base-tags", "--branch", "tickets/DM-1", "--latest"])
    assert status == 0
    stack = recorded_versions(PROJECT).stack.name
    assert capsys.readouterr().out == f"DM-1-{stack}\nDM-1-latest\n"
