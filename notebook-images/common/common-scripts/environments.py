"""Environments of the notebook images: their lists of packages, frozen or floating, installed by uv.

The scripts beside this file are thin; everything that they share is here. Only PyYAML is needed, and only for
``*.yml``. Variables:

``ENVIRONMENTS_DIR``
    Folder of the environments, ``/opt/environments`` by default: ``<env>/*.yml``, ``*.pip``, ``*.conda``,
    ``tests/``, and ``<env>/venv`` once it is installed.
``USE_FROZEN``
    1 (default): install exactly ``<env>-frozen.txt``. 0: resolve the lists again.
``FLOAT_DATE``
    With ``USE_FROZEN=0``: ignore what was published after this date, so that the resolution is repeatable.
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

__all__ = ["Environment", "RefusedError", "blocks", "main", "run_notebook", "sha256_of", "use_frozen", "uv"]

LAYERS = "layers.json"
"""In ``venv``: the lists that were added, in order."""

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


class RefusedError(Exception):
    """Something cannot be done; the message says what and what to do."""


def environments_dir() -> Path:
    """Return the folder of the environments."""
    return Path(os.environ.get("ENVIRONMENTS_DIR", "/opt/environments"))


def use_frozen() -> bool:
    """Return whether environments are installed from their frozen lists."""
    value = os.environ.get("USE_FROZEN", "1")
    if value not in ("0", "1"):
        raise RefusedError(f"USE_FROZEN is {value!r}: it is 1 (frozen lists) or 0 (resolve again).")
    return value == "1"


def normalised(name: str) -> str:
    """Return a package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """Return the versions of a frozen list, by package."""
    found = (_REQUIREMENT.match(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {normalised(match[1]): match[2].rstrip("\\").strip() for match in found if match}


def blocks(path: Path) -> dict[str, str]:
    """Return the entries of a frozen list with their hashes, by package."""
    found: dict[str, str] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if match := _REQUIREMENT.match(line):
            name = normalised(match[1])
            found[name] = line
        elif name and line.startswith(" "):
            found[name] += line
    return found


def sha256_of(*lists: Path) -> dict[str, list[str]]:
    """Return the hashes in the first frozen list that exists, by package; none if there is no list."""
    for path in lists:
        if path.exists():
            return {name: re.findall(r"sha256:([0-9a-f]{64})", text) for name, text in blocks(path).items()}
    return {}


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
        self.folder.mkdir(parents=True, exist_ok=True)
        if use_frozen() and not self.frozen.exists():
            raise RefusedError(
                f"{self.name} has no {self.frozen.name}: build it once with USE_FROZEN=0, which writes it."
            )
        if self.venv.exists():
            shutil.rmtree(self.venv)
        interpreter = os.environ.get("ENVIRONMENT_PYTHON", sys.executable)
        uv(self.name, "venv", "--quiet", "--python", interpreter, str(self.venv))
        self._write_layers([])
        if use_frozen():
            uv(self.name, "pip", "sync", *self._target(), "--require-hashes", str(self.frozen))
        elif spec is not None:
            self.update([spec])
        self.install_kernel()

    def update(self, specs: Sequence[Path]) -> None:
        """Add lists of packages, resolved together with those that were added before.

        A frozen environment has everything already: nothing happens.
        """
        self.require()
        if use_frozen():
            return
        layers = self._layers()
        for spec in specs:
            if not spec.is_file():
                raise RefusedError(f"{spec} does not exist.")
            layers.append({"file": spec.name, "requirements": requirements_of(spec)})
        self._write_layers(layers)
        self._install(layers)

    def clone_of(self, other: Environment) -> None:
        """Make the environment with the packages of another one, to which further lists are added."""
        other.require()
        if use_frozen():
            self.create()
            return
        self.create()
        layers = other._layers()
        self._write_layers(layers)
        self._install(layers)

    def freeze(self) -> None:
        """Write what is installed: a list with hashes, and a specification that people read."""
        self.require()
        resolved = self.venv / "resolved.txt"
        if not resolved.exists():
            raise RefusedError(f"{self.name} was not resolved: create and update it with USE_FROZEN=0.")
        shutil.copyfile(resolved, self.frozen)
        versions = pinned(self.frozen)
        date = os.environ.get("FLOAT_DATE") or datetime.now(UTC).date().isoformat()
        lines = [
            f"# Frozen {date}; {self.frozen.name} has the hashes.",
            f"name: {self.name}",
            "dependencies:",
        ]
        lines += [f"  - python={self._python_version()}", "  - pip:"]
        lines += [f"      - {name}=={version}" for name, version in sorted(versions.items())]
        self.frozen_yml.write_text("\n".join(lines) + "\n", encoding="utf-8")

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

    def _install(self, layers: Sequence[dict[str, object]]) -> None:
        wanted = self.venv / "requirements.in"
        lines = [
            line
            for layer in layers
            for line in (f"# {layer['file']}", *(str(one) for one in layer["requirements"]))  # type: ignore[attr-defined]
        ]
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        resolved = self.venv / "resolved.txt"
        dated = os.environ.get("FLOAT_DATE")
        newest = ["--exclude-newer", dated] if dated else []
        uv(
            self.name,
            *("pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "--no-header", "--upgrade"),
            *("--python", str(self.python), *newest, str(wanted), "--output-file", str(resolved)),
        )
        uv(self.name, "pip", "sync", *self._target(), "--require-hashes", str(resolved))
        self.install_kernel()

    def _target(self) -> list[str]:
        return ["--quiet", "--python", str(self.python)]

    def _layers(self) -> list[dict[str, object]]:
        path = self.venv / LAYERS
        found: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return found

    def _write_layers(self, layers: list[dict[str, object]]) -> None:
        (self.venv / LAYERS).write_text(json.dumps(layers, indent=1), encoding="utf-8")

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


def requirements_of(spec: Path) -> list[str]:
    """Return the packages that a list names for pip; refuse packages of conda where it is missing."""
    if spec.suffix == ".pip":
        lines = (line.strip() for line in spec.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    if spec.suffix == ".conda":
        _refuse_conda(spec, "lists packages of conda")
    if spec.suffix in (".yml", ".yaml"):
        return _requirements_of_yml(spec)
    raise RefusedError(f"{spec.name} is neither .yml, .pip nor .conda.")


def _requirements_of_yml(spec: Path) -> list[str]:
    import yaml

    try:
        content = yaml.safe_load(spec.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise RefusedError(f"{spec.name} is not YAML: {error}") from error
    packages: list[str] = []
    for entry in content.get("dependencies") or []:
        if isinstance(entry, dict):
            packages += [str(one) for one in entry.get("pip") or []]
        elif not re.fullmatch(r"(python|pip)\b.*", str(entry)):
            _refuse_conda(spec, f"needs {entry!r} of conda")
    return packages


def _refuse_conda(spec: Path, why: str) -> NoReturn:
    raise RefusedError(
        f"{spec.name} {why}. Conda's packages need micromamba and a channel, which this image does not have: "
        f"name packages of PyPI, in a .pip file or under `pip:`."
    )


def uv(environment: str, *arguments: str) -> None:
    """Run uv; its message is that of the failure."""
    if shutil.which("uv") is None:
        raise RefusedError("uv is missing: install it, or use the image, which has it.")
    done = subprocess.run(["uv", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RefusedError(f"{environment}: uv {arguments[0]} {arguments[1]} failed.\n{done.stderr.strip()}")


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
