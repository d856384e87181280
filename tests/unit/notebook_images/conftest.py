"""A small index of wheels, and the scripts of the notebook images run with it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from notebook_wheels import PATH, SCRIPTS, Run, write_uv_settings, write_wheel


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder, "heron", "1.0", "colour = 'grey'")
    write_wheel(folder, "heron", "2.0", "colour = 'white'")
    write_wheel(folder, "marsh", "1.0", "import heron", needs="heron<2")
    write_wheel(folder, "pond", "1.0", "import missing_reed")
    # The kernel of the interpreter that runs the test.
    write_wheel(folder, "hostkernel", "1.0", path=sysconfig.get_path("purelib"))
    return folder


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    folder = tmp_path / "environments"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path: Path, index: Path, environments: Path) -> Run:
    def run_script(
        script: str, *arguments: str | Path, status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        environment = {
            **inherited,
            "PATH": PATH,
            "ENVIRONMENTS_DIR": str(environments),
            "ENVIRONMENT_PYTHON": sys.executable,
            "UV_CONFIG_FILE": str(write_uv_settings(index)),
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "HOME": str(tmp_path / "home"),
            "USE_FROZEN": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            env={**environment, **variables},
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run_script
