"""Start commands by forking a process that has imported their packages: a start costs tenths of a second.

``prompt``, ``butler``, ``apdb-cli`` and ``python -m`` with some modules of a folder of programs ask
`warm_server` for a fork, which becomes the command: with the arguments, environment, folder and streams of
the program that asked, and in a session of its own. Signals to that program reach the fork. If that program
is killed, so is the fork's process group. The other programs of the folder are the environment's own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from file_costs import counted

__all__ = ["WarmCommands", "warm_programs", "warm_start"]

_SCRIPTS = ("prompt", "butler", "apdb-cli")
"""Programs, besides the interpreter, that are forked."""

_MODULES = ("prompt_processing", "ipykernel_launcher")
"""What the interpreter forks, with its submodules, besides scripts of the benchmarks."""

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

_FORWARDED = tuple(int(getattr(signal, f"SIG{name}")) for name in ("HUP", "INT", "TERM", "USR1", "USR2"))

_CLIENT = """\
#!{python} -IS
import os, sys
name = os.path.basename(sys.argv[0])
words = sys.argv[1:]
asked = words[1:] if words[:1] == ["-u"] else words
module = asked[1].split(".")[0] if asked[:1] == ["-m"] else ""
known = module in {modules!r} or asked and asked[0].startswith({scripts!r})
if name == "python" and not known:
    os.execv({python!r}, [{python!r}, *words])
import json, signal, socket, struct
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
text = json.dumps([[sys.argv[0], *words], dict(os.environ), os.getcwd()]).encode()
socket.send_fds(server, [struct.pack("!i", len(text))], [0, 1, 2])
server.sendall(text)
(pid,) = struct.unpack("!i", server.recv(4, socket.MSG_WAITALL))
def forward(number, frame):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
for number in {forwarded!r}:
    signal.signal(number, forward)
for stream in (0, 1, 2):
    os.close(stream)
(status,) = struct.unpack("!i", server.recv(4, socket.MSG_WAITALL))
if status < 0:
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""
"""A program of the folder. It starts in a hundredth of a second."""


@dataclass(frozen=True)
class WarmCommands:
    """A folder of programs that ask for forks.

    Attributes
    ----------
    programs
        The folder.
    server
        Process id of the server.
    """

    programs: Path
    server: int

    @property
    def python(self) -> str:
        """The interpreter, which forks modules of this project."""
        return str(self.programs / "python")

    def running(self) -> list[str]:
        """Return the processes of commands that have not ended, as `ps` shows them."""
        listed = subprocess.run(
            ["ps", "-wweo", "pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        return [
            line
            for line in listed.splitlines()
            if str(self.programs) in line and int(line.split()[0]) != self.server
        ]


@contextmanager
def _start(folder: Path) -> Iterator[WarmCommands]:
    # The path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="warm-") as short:
        address = f"{short}/server"
        client = _CLIENT.format(
            python=sys.executable,
            modules=_MODULES,
            scripts=f"{_BENCHMARKS}{os.sep}",
            address=address,
            forwarded=_FORWARDED,
        )
        for path in Path(sys.executable).parent.iterdir():
            if path.name == "python" or path.name in _SCRIPTS:
                (folder / path.name).write_text(client)
                (folder / path.name).chmod(0o755)
            else:
                (folder / path.name).symlink_to(path)
        # Packages would read these when they are imported, once for all forks.
        once = ("DAF_BUTLER_CONFIG_PATH", "PROMETHEUS_MULTIPROC_DIR")
        environment = {name: value for name, value in os.environ.items() if name not in once}
        # OpenBLAS and the allocator of Arrow would start threads, which forks lack.
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
        program = Path(__file__).with_name("warm_server.py")
        server = subprocess.Popen(
            [sys.executable, str(program), address, str(folder / "python")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n", "the process that forks has not started"
            with counted(server.pid):
                yield WarmCommands(folder, server.pid)
        finally:
            server.kill()
            server.communicate()


@pytest.fixture(scope="session")
def warm_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommands]:
    """Programs that start as forks, for all tests of this process."""
    with _start(tmp_path_factory.mktemp("warm")) as programs:
        yield programs


@pytest.fixture(scope="module")
def warm_start(warm_programs: WarmCommands) -> Iterator[WarmCommands]:
    """Let `sys.executable`, and the programs beside it, start as forks in a file's tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", warm_programs.python)
        yield warm_programs
