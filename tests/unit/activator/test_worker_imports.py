"""A worker that starts imports nothing that few visits or none use."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import prompt_processing.activator.factory, prompt_processing.activator.web_server
from prompt_processing.butler.pipelines.files import pipelines_folder, read_prompt_pipeline
for name in ("Preprocessing", "ApPipe", "SingleFrame", "Isr"):
    read_prompt_pipeline(f"{pipelines_folder('LSSTCam')}/{name}.yaml").to_graph()
print(" ".join(sys.modules))
"""

SLOW = {
    "numba": "a seventh of a second; only compiled functions need it",
    "scipy": "a tenth of a second, when images are processed",
    "sep": "when images are processed",
    "scipy.signal": "half a second, with scipy.stats",
    "scipy.stats": "half a second",
    "astropy_healpix": "a tenth of a second; only binary maps need it",
    "lsst.images": "a second, when the outputs are exported",
    "lsst.pipe.base.mp_graph_executor": "with what executes pipelines, when a visit begins",
    "scipy.interpolate": "a tenth of a second; only splines of linearity need it",
    "scipy.sparse.csgraph": "only sources that compete for an object need it",
    "galsim": "only simulations need it",
    "matplotlib": "only pages need it",
}


def test_start_of_a_worker_imports_no_slow_modules() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert {name: why for name, why in SLOW.items() if name in done.stdout.split()} == {}
