"""bin/_python finds a supported Python wherever a machine keeps it, and else says what to install."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
TOOLS = ("bash", "basename", "dirname", "sed", "sort", "env", "cat", "uname")

FAIL = """fail() { printf '%s\\n' "$1" >&2; exit 1; }"""


class Machine:
    """A machine with its own PATH, whose interpreters say which version they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found is not None
            (self.bin / name).symlink_to(found)
        self.environment = {"PATH": str(self.bin), "HOME": str(folder / "home")}

    def add(self, path: Path, version: str = "", *, complete: bool = True) -> Path:
        """Add an interpreter; without a version, a shim that only prints an error."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if version:
            minor = int(version.split(".")[1])
            # It runs what it is asked to, as the version that it claims to be.
            code = f"import sys; sys.version_info = (3, {minor}, 1, 'final', 0); "
            missing = "" if complete else "sys.modules['ensurepip'] = None; "
            quoted = shlex.quote(code + missing)
            text = f'[ "$1" = -c ] && exec {sys.executable} -c {quoted}"$2"'
        else:
            text = "echo 'command not found' >&2; exit 127"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def find(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Return what ``find_python`` finds."""
        source = (PROJECT / "bin/_python").read_text("utf-8")
        script = self.folder / "project" / "bin" / "find"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f"set -euo pipefail\n{FAIL}\n{source}\nfind_python\n")
        merged = {**self.environment, **environment}
        return subprocess.run(
            [self.bin / "bash", script], env=merged, capture_output=True, text=True, check=False
        )

    def found(self, **environment: str) -> Path:
        """Return the interpreter that is found."""
        done = self.find(**environment)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_python_on_the_path_comes_first(machine: Machine) -> None:
    wanted = machine.add(machine.bin / "python3.12", "3.12")
    machine.add(machine.folder / "home/.pyenv/versions/3.12.1/bin/python3.12", "3.12")
    assert machine.found() == wanted


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_default_python_is_taken_if_it_is_supported(machine: Machine, version: str) -> None:
    wanted = machine.add(machine.bin / "python3", version)
    assert machine.found() == wanted


def test_pyenv_is_searched_where_its_shim_says_no(machine: Machine) -> None:
    machine.add(machine.bin / "python3", "3.11")
    root = machine.folder / "elsewhere/pyenv"
    machine.add(root / "shims/python3.12")
    machine.add(root / "shims/python3.13")
    machine.add(root / "versions/3.11.7/bin/python3.11", "3.11")
    wanted = machine.add(root / "versions/3.12.1/bin/python3.12", "3.12")
    assert machine.found(PATH=f"{root}/shims:{machine.bin}") == wanted


def test_pyenv_root_is_searched_without_shims_on_the_path(machine: Machine) -> None:
    machine.add(machine.bin / "python3.11", "3.11")
    wanted = machine.add(machine.folder / "root/versions/3.13.0/bin/python3.13", "3.13")
    assert machine.found(PYENV_ROOT=str(machine.folder / "root")) == wanted


@pytest.mark.parametrize(
    "folder", [".pyenv/versions/3.12.1", ".local/share/uv/python/cpython-3.12.9-linux-x86_64-gnu"]
)
def test_home_is_searched(machine: Machine, folder: str) -> None:
    wanted = machine.add(machine.folder / "home" / folder / "bin/python3.12", "3.12")
    assert machine.found() == wanted


def test_uvs_own_folder_is_searched(machine: Machine) -> None:
    wanted = machine.add(machine.folder / "uv/cpython-3.13.1-linux/bin/python3.13", "3.13")
    assert machine.found(UV_PYTHON_INSTALL_DIR=str(machine.folder / "uv")) == wanted


def test_the_newest_patch_of_the_older_version_is_preferred(machine: Machine) -> None:
    versions = machine.folder / "home/.pyenv/versions"
    for patch in ("3.12.1", "3.12.10", "3.12.9", "3.13.2"):
        minor = patch.rpartition(".")[0]
        machine.add(versions / patch / f"bin/python{minor}", minor)
    assert machine.found() == versions / "3.12.10/bin/python3.12"


def test_an_incomplete_python_is_passed_over(machine: Machine) -> None:
    machine.add(machine.bin / "python3.12", "3.12", complete=False)
    wanted = machine.add(machine.bin / "python3.13", "3.13")
    assert machine.found() == wanted


@pytest.mark.parametrize("home", ["", None])
def test_without_home_and_python_the_message_says_what_to_install(machine: Machine, home: str | None) -> None:
    machine.add(machine.bin / "python3.11", "3.11")
    if home is None:
        del machine.environment["HOME"]
    else:
        machine.environment["HOME"] = home
    done = machine.find()
    assert done.returncode == 1
    assert "Python 3.12 or 3.13" in done.stderr
    assert "uv python install 3.12" in done.stderr
    assert "unbound" not in done.stderr


def test_a_named_python_is_used_or_refused_by_name(machine: Machine) -> None:
    machine.add(machine.bin / "python3.12", "3.12")
    wanted = machine.add(machine.folder / "own/python", "3.13")
    assert machine.found(PROMPT_PROCESSING_PYTHON=str(wanted)) == wanted
    old = machine.add(machine.folder / "old/python", "3.11")
    done = machine.find(PROMPT_PROCESSING_PYTHON=str(old))
    assert done.returncode == 1
    assert str(old) in done.stderr


def test_uv_is_asked_for_a_build_of_its_own(machine: Machine) -> None:
    made = machine.add(machine.folder / "made/python3.12", "3.12")
    uv = machine.bin / "uv"
    uv.write_text(f'#!/bin/sh\ncase "$*" in *find*) echo {made} ;; esac\n')
    uv.chmod(0o755)
    assert machine.found() == made


def test_this_machines_own_python_is_found() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{FAIL}; source bin/_python; find_python"],
        cwd=PROJECT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
