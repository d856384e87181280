"""The version comes from the tag, and is the same for a wheel and for a container."""

import subprocess
import sys
from pathlib import Path

import pytest

from prompt_delivery.release.errors import ReleaseError
from prompt_delivery.release.project_history import ProjectHistory
from prompt_delivery.release.release_version import ReleaseVersion

PROJECT = Path(__file__).parents[4]


class Checkout:
    """A repository with this project's build configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--initial-branch", "main")
        self.commit("one")

    def git(self, *arguments: str) -> str:
        name = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        command = ["git", "-C", str(self.folder), *name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, text: str) -> None:
        (self.folder / "pyproject.toml").write_text(f"{(PROJECT / 'pyproject.toml').read_text()}\n# {text}\n")
        self.git("add", "pyproject.toml")
        self.git("commit", "--message", text)

    def version(self) -> str:
        """Return the version that both sides agree on."""
        ours = ProjectHistory(self.folder).version()
        assert ours == wheel_version(self.folder)
        return ours


def wheel_version(folder: Path) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "setuptools_scm", "--root", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "checkout"
    folder.mkdir()
    return Checkout(folder)


def test_a_tagged_commit_has_the_tags_version(checkout: Checkout) -> None:
    checkout.git("tag", "1.2.3")
    assert checkout.version() == "1.2.3"


def test_a_later_commit_precedes_the_next_release(checkout: Checkout) -> None:
    checkout.git("tag", "1.2.3")
    checkout.commit("two")
    assert checkout.version().startswith("1.2.4.dev1+g")


def test_a_commit_after_a_candidate_precedes_the_next_candidate(checkout: Checkout) -> None:
    checkout.git("tag", "2.0.0rc1")
    checkout.commit("two")
    assert checkout.version().startswith("2.0.0rc2.dev1+g")


def test_changed_files_are_no_release(checkout: Checkout) -> None:
    checkout.git("tag", "1.2.3")
    with (checkout.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert checkout.version().startswith("1.2.4.dev0+g")


def test_labels_of_the_middleware_are_no_releases(checkout: Checkout) -> None:
    checkout.git("tag", "1.2.3")
    checkout.commit("two")
    checkout.git("tag", "w_2026_43")
    assert checkout.version().startswith("1.2.4.dev1+g")


def test_a_clone_without_tags_has_a_version(checkout: Checkout, tmp_path: Path) -> None:
    checkout.git("tag", "1.2.3")
    checkout.commit("two")
    checkout.git("clone", "--depth", "1", "--no-tags", checkout.folder.as_uri(), str(tmp_path / "clone"))
    assert wheel_version(tmp_path / "clone").startswith("0.1.0.dev1+g")
    assert ProjectHistory(tmp_path / "clone").version() == wheel_version(tmp_path / "clone")


def test_a_plain_copy_has_a_version(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    assert wheel_version(tmp_path) == "0.1.0.dev0"


def test_a_source_archive_has_its_commits_version(checkout: Checkout, tmp_path: Path) -> None:
    for name in (".gitattributes", ".git_archival.txt"):
        (checkout.folder / name).write_text((PROJECT / name).read_text())
        checkout.git("add", name)
    checkout.git("commit", "--message", "archive")
    checkout.git("tag", "1.2.3")
    checkout.git("archive", "--output", str(tmp_path / "archive.tar"), "HEAD")
    (tmp_path / "archive").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "archive.tar", "-C", tmp_path / "archive"], check=True)
    assert wheel_version(tmp_path / "archive") == "1.2.3"


def test_a_release_cannot_be_moved_to_another_commit(checkout: Checkout) -> None:
    history = ProjectHistory(checkout.folder)
    checkout.git("tag", "1.2.3")
    history.require_free(ReleaseVersion.parse("1.2.3"))
    with pytest.raises(ReleaseError, match=r"already release 1\.2\.3"):
        history.require_free(ReleaseVersion.parse("1.3.0"))
    checkout.commit("two")
    with pytest.raises(ReleaseError, match=r"1\.2\.3 is on another commit"):
        history.require_free(ReleaseVersion.parse("1.2.3"))


def test_a_candidates_commit_may_become_the_release(checkout: Checkout) -> None:
    checkout.git("tag", "1.3.0rc1")
    ProjectHistory(checkout.folder).require_free(ReleaseVersion.parse("1.3.0"))


def test_releases_before_the_move_still_name_their_schemas(checkout: Checkout) -> None:
    record = checkout.folder / "python/prompt_processing/release/schemas.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"alert": "11.1", "apdb": "10.0.0"}')
    (checkout.folder / "requirements.lock").write_text("lsst-daf-butler==30.2026.4300 \\\n")
    checkout.git("add", ".")
    checkout.git("commit", "--message", "old")
    checkout.git("tag", "1.2.3")
    assert ProjectHistory(checkout.folder).versions_of(ReleaseVersion.parse("1.2.3")).alert_schema == "11.1"
