"""Wheels, lists and notebooks for the environments of notebook images, in the tests."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import nbformat

ROOT = Path(__file__).parents[2] / "notebook-images"
SCRIPTS = ROOT / "common" / "common-scripts"

Run = Callable[..., subprocess.CompletedProcess[str]]

# uv is installed beside the interpreter, whether or not its environment is activated.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def write_wheel(
    index: Path, name: str, version: str, code: str = "", needs: str = "", path: str = ""
) -> None:
    """Write a wheel of one module; `path` is a folder that it adds to the search path."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(index / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        files = {
            f"{name}.py": code,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if path:
            files[f"{name}.pth"] = path + "\n"
        for file, content in files.items():
            wheel.writestr(zipfile.ZipInfo(file), content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))


def write_uv_settings(index: Path) -> Path:
    """Let uv know this index only."""
    path = index / "uv.toml"
    path.write_text(f"no-index = true\nfind-links = ['{index}']\n")
    return path


def write_list(folder: Path, name: str, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_notebook(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "lake", "display_name": "lake", "language": "python"}
    nbformat.write(notebook, path)


class DatedIndex:
    """An index on this machine that says when each wheel was published.

    Parameters
    ----------
    wheels
        Folder of the wheels.
    """

    def __init__(self, wheels: Path) -> None:
        self._wheels = wheels
        self._published: dict[str, list[dict[str, Any]]] = {}
        published = self._published

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *words: Any) -> None:
                super().__init__(*words, directory=str(wheels))

            def do_GET(self) -> None:
                if not self.path.startswith("/simple/"):
                    super().do_GET()
                    return
                name = self.path.split("/")[2]
                content = {"meta": {"api-version": "1.1"}, "name": name, "files": published.get(name, [])}
                text = json.dumps(content).encode()
                self.send_response(200 if name in published else 404)
                self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def settings(self) -> Path:
        """Settings with which uv knows this index only, and asks it each time."""
        path = self._wheels / "dated.toml"
        address = f"http://127.0.0.1:{self._server.server_port}/simple"
        path.write_text(f"no-cache = true\n[[index]]\nurl = '{address}'\ndefault = true\n")
        return path

    def publish(self, wheel: str, date: str) -> None:
        """Add a wheel, such as ``heron-1.0``."""
        file = f"{wheel}-py3-none-any.whl"
        digest = hashlib.sha256((self._wheels / file).read_bytes()).hexdigest()
        entry = {
            "filename": file,
            "url": f"http://127.0.0.1:{self._server.server_port}/{file}",
            "hashes": {"sha256": digest},
            "upload-time": f"{date}T12:00:00Z",
        }
        self._published.setdefault(wheel.partition("-")[0], []).append(entry)
