"""The project's own wheel, in an environment that borrows its other packages from this one."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from prompt_delivery.release.requirements import needed_distributions

PROJECT = Path(__file__).parents[2]

_KEPT = ("LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TMPDIR", "TZ")
_SCRIPT = """\
#!{python}
import sys
from {module} import {first}
sys.exit({call}())
"""


def build_distributions(folder: Path) -> tuple[Path, Path]:
    """Build the source distribution, and the wheel from it alone.

    Returns
    -------
    wheel, sdist
        The files.
    """
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(PROJECT)],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@cache
def _owners() -> Mapping[str, list[str]]:
    """Return the distributions of each module: it looks into all of them."""
    return metadata.packages_distributions()


class InstalledWheel:
    """An environment with the wheel and the other packages that it or its extras require.

    Parameters
    ----------
    folder
        Folder in which to create it.
    wheel
        The wheel.
    extras
        Extras to install.
    installed
        An environment whose installation of the wheel is copied, with what Python has compiled since.
    """

    def __init__(
        self, folder: Path, wheel: Path, extras: Iterable[str] = (), installed: "InstalledWheel | None" = None
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        venv.EnvBuilder(symlinks=True).create(folder / "venv")
        self.python = folder / "venv" / "bin" / "python"
        needed = needed_distributions(extras)
        (self.site,) = (folder / "venv" / "lib").glob("python3*/site-packages")
        self._borrow(needed)
        if installed is None:
            self._install(wheel)
        else:
            self._copy(installed)

    def _install(self, wheel: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)],
            check=True,
            capture_output=True,
            text=True,
        )

    def _copy(self, installed: "InstalledWheel") -> None:
        for entry in installed.site.glob("prompt_*"):
            shutil.copytree(entry, self.site / entry.name)
        for script in installed.python.parent.glob("prompt*"):
            text = script.read_text()
            assert str(installed.python) in text, script
            copy = self.python.with_name(script.name)
            copy.write_text(text.replace(str(installed.python), str(self.python)))
            copy.chmod(0o755)

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that is independent of the checkout."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT}
        return {**kept, "HOME": str(self.home), "PATH": f"{self.python.parent}:/usr/bin:/bin"}

    def run(self, *command: str, timeout_s: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment, outside the checkout."""
        return subprocess.run(
            [str(self.python.with_name(command[0])), *command[1:]],
            cwd=self.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def take_compiled(self) -> None:
        """Reuse the checkout's compiled code of the same sources, to save time."""
        checkout, installed = PROJECT / "python" / "prompt_processing", self.site / "prompt_processing"
        for compiled in checkout.rglob("__pycache__/*.nb[ic]"):
            folder = compiled.parent.parent
            source = folder / f"{compiled.name.partition('.')[0]}.py"
            copy = installed / source.relative_to(checkout)
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                continue
            # The compiled code is valid for a source of this time and size.
            was = source.stat()
            os.utime(copy, ns=(was.st_atime_ns, was.st_mtime_ns))
            (copy.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy2(compiled, copy.parent / "__pycache__" / compiled.name)

    def _borrow(self, needed: set[str]) -> None:
        borrowed = self.folder / "packages"
        borrowed.mkdir()
        owners = _owners()
        for packages in {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}:
            for entry in packages.iterdir():
                module, _, ending = entry.name.partition(".")
                if entry.suffix == ".dist-info":
                    names = [entry.name.partition("-")[0]]
                else:
                    names = owners.get(module, [])
                # Files without an owner, such as numpy.libs, belong to a distribution by name. The checkout's
                # own installation is a .pth file.
                wanted = {_normal(name) for name in names} & needed if names else ending != "pth"
                if wanted:
                    (borrowed / entry.name).symlink_to(entry)
        (self.site / "packages.pth").write_text(f"{borrowed}\n")
        for name in needed:
            try:
                entries = metadata.distribution(name).entry_points
            except metadata.PackageNotFoundError:
                # Only another version of Python needs it.
                continue
            for entry in entries.select(group="console_scripts"):
                module, _, call = entry.value.partition(":")
                script = self.python.with_name(entry.name)
                first = call.partition(".")[0]
                script.write_text(
                    _SCRIPT.format(
                        python=self.python, module=module, first=first, call=call.split("[")[0].strip()
                    )
                )
                script.chmod(0o755)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(wheel: Path) -> set[str]:
    """Return the names of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())
