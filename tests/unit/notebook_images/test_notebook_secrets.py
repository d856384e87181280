"""Secrets of the notebook images: a real repository, real keys, and nothing readable in history or layers."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from real_services import required

from prompt_processing.services.software import Software

ROOT = Path(__file__).parents[3] / "notebook-images"
SECRET = "correct-horse-battery-staple"

pytestmark = pytest.mark.services


@dataclass
class Person:
    """Somebody with a home folder, a key and a clone."""

    home: Path
    remote: Path
    programs: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.home / ".config/sops/age/keys.txt"

    @property
    def clone(self) -> Path:
        return self.home / ".secrets-prompt"

    def run(self, *command: str | Path, status: int = 0, folder: Path | None = None) -> str:
        """Run a command as this person, and return what it prints."""
        environment = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        environment |= {
            "HOME": str(self.home),
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "SECRETS_REPOSITORY": str(self.remote),
            "SOPS_DISABLE_VERSION_CHECK": "1",
            **self.variables,
        }
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=folder or self.home, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def public_key(self) -> str:
        """Make a key, and return its public part."""
        self.key.parent.mkdir(parents=True)
        self.run("age-keygen", "-o", self.key)
        return self.run("age-keygen", "-y", self.key).strip()

    def write(self, text: str) -> None:
        """Let the editor replace the content by a text."""
        editor = self.home / "editor"
        editor.write_text(f"#!/bin/sh\ncat > \"$1\" <<'END'\n{text}END\n")
        editor.chmod(0o755)
        self.variables["EDITOR"] = str(editor)


@pytest.fixture(scope="module")
def programs() -> str:
    software = Software()
    found = required("sops and age", lambda: (software.sops(), software.age_keygen()))
    return os.pathsep.join(str(program.path.parent) for program in found)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(folder)], check=True)
    return folder


def a_person(name: str, remote: Path, programs: str) -> Person:
    home = remote.parent / name
    home.mkdir()
    person = Person(home, remote, programs)
    (home / ".gitconfig").write_text(f"[user]\nname = {name}\nemail = {name}@example.org\n")
    return person


@pytest.fixture
def ada(remote: Path, programs: str) -> Person:
    """Return the person who has set up the repository."""
    person = a_person("ada", remote, programs)
    rules = f"creation_rules:\n  - path_regex: .*\n    age: {person.public_key()}\n"
    setup = remote.parent / "setup"
    person.run("git", "clone", "--quiet", remote, setup)
    (setup / ".sops.yaml").write_text(rules)
    for words in (("add", "."), ("commit", "-qm", "Rules"), ("push", "-q", "origin", "HEAD:main")):
        person.run("git", *words, folder=setup)
    return person


def everything_in(remote: Path) -> bytes:
    """Return all objects of a repository's history."""
    options = ["cat-file", "--batch", "--batch-all-objects"]
    return subprocess.run(["git", "-C", str(remote), *options], check=True, capture_output=True).stdout


def test_secret_is_written_committed_and_pushed_without_being_readable(ada: Person, remote: Path) -> None:
    ada.run(ROOT / "secrets-clone")
    ada.write(f"password: {SECRET}\n")
    assert "Committed prompt.yaml" in ada.run(ROOT / "secrets-edit")
    # Closed without a change: no commit.
    assert "unchanged" in ada.run(ROOT / "secrets-edit")
    assert "Pushed 1 commit(s)." in ada.run(ROOT / "secrets-push")
    assert "nothing to push" in ada.run(ROOT / "secrets-push")
    history = everything_in(remote)
    assert b"ENC[AES256_GCM" in history
    assert SECRET.encode() not in history
    assert b"AGE-SECRET-KEY" not in history
    # Somebody who may read them, from another place.
    shutil.rmtree(ada.clone)
    ada.run(ROOT / "secrets-clone")
    assert ada.run("sops", "decrypt", "prompt.yaml", folder=ada.clone) == f"password: {SECRET}\n"
    assert ada.clone.stat().st_mode & 0o077 == 0
    # Temporary copies of the editor are gone.
    left = [path for path in ada.home.rglob("*") if path.is_file() and path.name != "editor"]
    assert not [path for path in left if SECRET.encode() in path.read_bytes()]


def test_stranger_is_told_what_is_missing(ada: Person, remote: Path, programs: str) -> None:
    ada.run(ROOT / "secrets-clone")
    ada.write(f"password: {SECRET}\n")
    ada.run(ROOT / "secrets-edit")
    ada.run(ROOT / "secrets-push")
    bob = a_person("bob", remote, programs)
    assert "make one with age-keygen" in bob.run(ROOT / "secrets-clone", status=1)
    bob.public_key()
    bob.key.chmod(0o644)
    assert "chmod 600" in bob.run(ROOT / "secrets-clone", status=1)
    bob.key.chmod(0o600)
    refused = bob.run(ROOT / "secrets-clone", status=1)
    assert "sops updatekeys" in refused
    assert "AGE-SECRET-KEY" not in refused
    bob.variables["SECRETS_REPOSITORY"] = str(remote.parent / "other.git")
    bob.variables["SECRETS_FOLDER"] = str(bob.home / "other")
    assert "authorized" in bob.run(ROOT / "secrets-clone", status=1)


def test_nothing_readable_is_pushed_even_if_a_later_commit_removes_it(ada: Person, remote: Path) -> None:
    ada.run(ROOT / "secrets-clone")
    (ada.clone / "note.yaml").write_text(f"password: {SECRET}\n")
    for words in (
        ("add", "note.yaml"),
        ("commit", "-qm", "Note"),
        ("rm", "-q", "note.yaml"),
        ("commit", "-qm", "No"),
    ):
        ada.run("git", *words, folder=ada.clone)
    assert "note.yaml is not encrypted" in ada.run(ROOT / "secrets-push", status=1)
    assert SECRET.encode() not in everything_in(remote)


def test_somebody_elses_push_is_not_overwritten(ada: Person, remote: Path) -> None:
    ada.run(ROOT / "secrets-clone")
    other = ada.home / "second"
    ada.run("git", "clone", "--quiet", remote, other)
    (other / "README.md").write_text("Secrets.\n")
    for words in (("add", "."), ("commit", "-qm", "Words"), ("push", "-q", "origin", "HEAD:main")):
        ada.run("git", *words, folder=other)
    ada.write("password: mine\n")
    ada.run(ROOT / "secrets-edit")
    assert "somebody else has pushed" in ada.run(ROOT / "secrets-push", status=1)


def test_clone_inside_of_a_checkout_is_refused(ada: Person) -> None:
    ada.run("git", "init", "--quiet", ada.home / "work")
    ada.variables["SECRETS_FOLDER"] = str(ada.home / "work" / "secrets")
    assert "choose a place outside" in ada.run(ROOT / "secrets-clone", status=1)
