"""An environment that has ``lsst-daf-butler`` and ``lsst-images``, and has never heard of this project."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

from prompt_processing.services.installer import default_folder

_PACKAGES = ("lsst-daf-butler", "lsst-images", "lsst-resources", "lsst-sphgeom", "lsst-utils", "galsim")
_FURTHER = (
    # lsst-images opens its schemas' addresses by it.
    "requests",
    # 1.7 calls a method that the reader of lsst-images 30.2026.43 lacks.
    "piff==1.6.0",
)


def field_python() -> Path:
    """Return the interpreter of the environment, made on first use and kept beside the services."""
    wanted = [*(f"{name}=={metadata.version(name)}" for name in _PACKAGES), *_FURTHER]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = default_folder() / f"field-stack-{version}-{metadata.version('lsst-images')}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / ".field-stack.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            venv.EnvBuilder(symlinks=True).create(folder)
            python = folder / "bin" / "python"
            uv = shutil.which("uv")
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
            command = [uv, "pip", "install", "--quiet", "--python", str(python)] if uv else pip
            done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"Cannot install {', '.join(wanted)}: {done.stderr}"
            (folder / "complete").touch()
    return folder / "bin" / "python"


def run_there(script: str, *arguments: str) -> Any:
    """Run a script in the environment, and return what it prints as JSON."""
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR", "TZ", "HOME")}
    done = subprocess.run(
        # Isolated from PYTHONPATH and from the folder of the script.
        [str(field_python()), "-I", "-c", script, *arguments],
        capture_output=True,
        text=True,
        env={**kept, "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
