"""Environments of the notebook images: their lists of packages, frozen or floating, installed by uv.

The scripts beside this file are thin; everything that they share is here, in
``package_lists.py`` and in ``conda.py``. Only PyYAML is needed, and only for ``*.yml``. Variables:

``ENVIRONMENTS_DIR``
    Folder of the environments, ``/opt/environments`` by default: ``<env>/*.yml``, ``*.pip``, ``*.conda``,
    ``tests/``, and ``<env>/venv`` once it is installed.
``USE_FROZEN``
    1 (default): install exactly ``<env>-frozen.txt``. 0: resolve the lists again.
``FLOAT_DATE``
    With ``USE_FROZEN=0``: ignore what was published after this date, so that the resolution is repeatable.
``CONDA_CHANNELS``
    Channels of conda, separated by blanks, where no ``*.yml`` names one.
``COMMON_ENV_DIR``
    Lists that ``install-common`` adds, ``/opt/common-env`` by default.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import conda
from package_lists import PackageList, RefusedError, blocks, pinned, read_list

__all__ = ["Environment", "environments_dir", "main", "run_notebook", "use_frozen", "uv", "write_kernel"]

LAYERS = "layers.json"
"""In ``venv``: the lists that were added, in order."""
RESOLVED = "resolved.txt"
"""In ``venv``: the packages that the lists were resolved to, with hashes."""
_CELL_SECONDS = 1800
"""A cell that runs longer fails: a test that waits for ever has no name."""


def environments_dir() -> Path:
    """Return the folder of the environments."""
    return Path(os.environ.get("ENVIRONMENTS_DIR", "/opt/environments"))


def use_frozen() -> bool:
    """Return whether environments are installed from their frozen lists."""
    value = os.environ.get("USE_FROZEN", "1")
    if value not in ("0", "1"):
        raise RefusedError(f"USE_FROZEN is {value!r}: it is 1 (frozen lists) or 0 (resolve again).")
    return value == "1"


class Environment:
    """One environment.

    Parameters
    ----------
    name
        Name, which is also that of its kernel.
    """

    def __init__(self, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            raise RefusedError(
                f"{name!r} is not a name of an environment: small letters, digits, '-', '_' and '.'."
            )
        self.name = name
        self.folder = environments_dir() / name
        self.venv = self.folder / "venv"
        self.frozen = self.folder / f"{name}-frozen.txt"
        self.frozen_yml = self.folder / f"{name}-frozen.yml"
        self.frozen_conda = self.folder / f"{name}-frozen.conda"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "bin" / "python"

    def require(self) -> None:
        """Refuse an environment that was not created."""
        if not self.python.exists():
            raise RefusedError(
                f"The environment {self.name} does not exist: create it with env-create {self.name}."
            )

    def create(self, spec: Path | None = None) -> None:
        """Make the environment, empty or of a list.

        A frozen environment is complete afterwards.
        """
        if use_frozen() and not self.frozen.exists():
            raise RefusedError(
                f"{self.name} has no {self.frozen.name}: build it once with USE_FROZEN=0, which writes it."
            )
        layers = [read_list(spec)] if spec is not None and not use_frozen() else []
        self.folder.mkdir(parents=True, exist_ok=True)
        if use_frozen() and self.frozen_conda.exists():
            self._with_conda(conda.create_from, self.frozen_conda)
        else:
            self._create_empty()
        self._write_layers([])
        if use_frozen():
            self._install_hashed(self.frozen)
        elif layers:
            self._install(layers)
        self.install_kernel()

    def update(self, specs: Sequence[Path]) -> None:
        """Add lists of packages, resolved together with those that were added before.

        A list that was added before is replaced. A frozen environment has everything already.
        """
        self.require()
        if use_frozen():
            return
        added = {layer.file: layer for layer in (*self._layers(), *map(read_list, specs))}
        self._install(list(added.values()))

    def clone_of(self, other: Environment) -> None:
        """Make the environment with the packages of another one, to which further lists are added."""
        if use_frozen():
            self.create()
            return
        other.require()
        if other.name == self.name:
            raise RefusedError(f"{self.name} cannot be a clone of itself: give the clone another name.")
        layers = other._layers()
        if not layers and not other.is_resolved() and other.frozen.exists():
            # A frozen environment keeps no lists: its versions are one.
            versions = pinned(other.frozen)
            wanted = tuple(f"{name}=={version}" for name, version in sorted(versions.items()))
            layers = [PackageList(other.frozen.name, wanted)]
        self.create()
        if layers:
            self._install(layers)

    def freeze(self) -> None:
        """Write what is installed: a list with hashes, and a specification that people read."""
        self.require()
        if not self.is_resolved():
            raise RefusedError(f"{self.name} was not resolved: create and update it with USE_FROZEN=0.")
        shutil.copyfile(self.venv / RESOLVED, self.frozen)
        versions = pinned(self.frozen)
        date = os.environ.get("FLOAT_DATE") or datetime.now(UTC).date().isoformat()
        lines = [f"# Frozen {date}; {self.frozen.name} has the hashes.", f"name: {self.name}"]
        self.frozen_conda.unlink(missing_ok=True)
        if of_conda := conda.installed(self.venv):
            self.frozen_conda.write_text(conda.explicit_list(self.venv), encoding="utf-8")
            channels = dict.fromkeys(channel for layer in self._layers() for channel in layer.channels)
            lines += [
                "channels:",
                *(f"  - {one}" for one in channels or _default_channels()),
                "dependencies:",
            ]
            lines += [f"  - {one['name']}={one['version']}={one['build']}" for one in of_conda]
        else:
            lines += ["dependencies:", f"  - python={self._python_version()}"]
        if versions:
            lines += ["  - pip:"]
            lines += [f"      - {name}=={version}" for name, version in sorted(versions.items())]
        self.frozen_yml.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def is_resolved(self) -> bool:
        """Return whether its lists were resolved here; a frozen environment only installs."""
        return (self.venv / RESOLVED).exists()

    def install_kernel(self) -> None:
        """Make the environment a kernel, if it has ipykernel."""
        kernels = environments_dir() / "share" / "jupyter" / "kernels" / self.name
        installed = subprocess.run(
            [str(self.python), "-c", "import ipykernel"], check=False, capture_output=True
        )
        if installed.returncode:
            return
        kernels.mkdir(parents=True, exist_ok=True)
        write_kernel(kernels, self.python, self.name)

    def tests(self, name: str) -> list[str]:
        """Return the lines of a file in ``tests``, without comments; none if there is no file."""
        path = self.folder / "tests" / name
        if not path.exists():
            return []
        lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line]

    def _create_empty(self) -> None:
        shutil.rmtree(self.venv, ignore_errors=True)
        interpreter = os.environ.get("ENVIRONMENT_PYTHON", sys.executable)
        uv(self.name, "venv", "--quiet", "--python", interpreter, str(self.venv))

    def _with_conda(self, action: Callable[..., None], *arguments: object) -> None:
        try:
            action(self.venv, *arguments)
        except conda.CondaError as error:
            raise RefusedError(f"{self.name}: {error}") from error

    def _install(self, layers: Sequence[PackageList]) -> None:
        """Resolve lists together and install what they need; the lists are kept if that succeeds."""
        dated = os.environ.get("FLOAT_DATE")
        newest = ["--exclude-newer", dated] if dated else []
        of_conda = [layer for layer in layers if layer.conda]
        if of_conda:
            names = ", ".join(layer.name for layer in of_conda)
            if dated:
                raise RefusedError(
                    f"{self.name}: FLOAT_DATE is {dated}, but {names} lists packages of conda, which have no "
                    "dates: build without it, or name packages of PyPI."
                )
            channels = list(dict.fromkeys(one for layer in layers for one in layer.channels))
            packages = [one for layer in of_conda for one in layer.conda]
            try:
                self._with_conda(conda.create, channels or _default_channels(), packages)
            except RefusedError as error:
                raise RefusedError(f"{error} ({names})") from error
        lines = [line for layer in layers for line in (f"# {layer.name}", *layer.pip)]
        wanted = self.venv / "requirements.in"
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if of_conda:
            newest += self._held_by_conda()
        resolved = self.venv / f"{RESOLVED}.new"
        uv(
            self.name,
            *("pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header", "--upgrade"),
            *("--python", str(self.python), *newest, str(wanted), "--output-file", str(resolved)),
            lists=[layer.name for layer in layers],
        )
        self._install_hashed(resolved)
        resolved.replace(self.venv / RESOLVED)
        self._write_layers(layers)
        self.install_kernel()

    def _held_by_conda(self) -> list[str]:
        """Return options that leave Python packages of conda as they are."""
        listed = uv(self.name, "pip", "list", "--quiet", "--format", "json", "--python", str(self.python))
        held = {one["name"]: one["version"] for one in json.loads(listed)}
        path = self.venv / "held.txt"
        path.write_text("".join(f"{name}=={version}\n" for name, version in held.items()), encoding="utf-8")
        return ["--constraint", str(path), *(word for name in held for word in ("--no-emit-package", name))]

    def _install_hashed(self, listed: Path) -> None:
        target = ["--quiet", "--python", str(self.python), "--require-hashes"]
        if not conda.is_prefix(self.venv):
            uv(self.name, "pip", "sync", *target, str(listed))
        elif blocks(listed):
            # `sync` would remove what conda has installed.
            uv(self.name, "pip", "install", *target, "--no-deps", "--requirement", str(listed))

    def _layers(self) -> list[PackageList]:
        path = self.venv / LAYERS
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return [PackageList(**{key: _plain(value) for key, value in one.items()}) for one in found]

    def _write_layers(self, layers: Sequence[PackageList]) -> None:
        content = [vars(layer) for layer in layers]
        (self.venv / LAYERS).write_text(json.dumps(content, indent=1), encoding="utf-8")

    def _python_version(self) -> str:
        code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
        return subprocess.run(
            [str(self.python), "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()


def write_kernel(folder: Path, python: Path, title: str) -> None:
    """Write the specification of a kernel."""
    spec = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": title,
        "language": "python",
    }
    (folder / "kernel.json").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")


def run_notebook(notebook: Path, kernel: str, share: Path) -> str | None:
    """Run a notebook from start to end, and return how it failed; `None` if it did not.

    Parameters
    ----------
    notebook
        The notebook, which stays as it is.
    kernel
        Name of the kernel.
    share
        Folder in which Jupyter finds the kernel.
    """
    path = os.pathsep.join(filter(None, [str(share), os.environ.get("JUPYTER_PATH", "")]))
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "papermill", "--kernel", kernel, "--cwd", str(notebook.parent)]
        command += ["--execution-timeout", str(_CELL_SECONDS)]
        done = subprocess.run(
            [sys.executable, *command, str(notebook), str(Path(folder) / notebook.name)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "JUPYTER_PATH": path},
        )
    if not done.returncode:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _plain(value: str | list[str]) -> str | tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else value


def _default_channels() -> list[str]:
    return os.environ.get("CONDA_CHANNELS", "").split()


def uv(environment: str, *arguments: str, lists: Sequence[str] = ()) -> str:
    """Run uv, and return what it prints; the message of a failure names the environment and its lists."""
    if shutil.which("uv") is None:
        raise RefusedError("uv is missing: install it, or use the image, which has it.")
    done = subprocess.run(["uv", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        of = f" ({', '.join(lists)})" if lists else ""
        what = " ".join(arguments[: 2 if arguments[0] == "pip" else 1])
        raise RefusedError(f"{environment}: uv {what} failed{of}.\n{done.stderr.strip()}")
    return done.stdout


def main(action: Callable[[Sequence[str]], int | None]) -> NoReturn:
    """Run a script's action with its arguments; a refusal is one message and exit status 1."""
    name = Path(sys.argv[0]).name
    if sys.argv[1:] in (["-h"], ["--help"]):
        sys.stdout.write((action.__doc__ or "").strip() + "\n")
        raise SystemExit(0)
    try:
        raise SystemExit(action(sys.argv[1:]) or 0)
    except RefusedError as error:
        sys.stderr.write(f"{name}: {error}\n")
        raise SystemExit(1) from None
