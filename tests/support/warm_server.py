"""The process behind `warm_commands`: it imports packages, and forks for each command.

Run as a program, it takes the address of its socket and the path of the interpreter that asks for forks.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import numpy as np
from lsst.daf.butler import StorageClassFactory

_IMPORTED = (
    *("astropy.coordinates", "astropy.io.fits", "astropy.table", "astropy.time", "astropy.wcs"),
    *("boto3", "botocore.session", "click", "confluent_kafka", "fastavro", "flask", "httpx"),
    *("lsst.daf.butler.cli.butler", "lsst.daf.butler.registry.sql_registry", "lsst.dax.apdb"),
    *("lsst.daf.butler.datastores.fileDatastore", "lsst.pipe.base", "lsst.resources.s3"),
    *("numba", "pandas", "pyarrow.parquet", "pydantic", "redis.asyncio", "requests", "rich.console"),
    *("scipy.fft", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.spatial", "scipy.stats"),
    *("sep", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "yaml"),
)
"""What commands import from other packages.

A module that reads the environment when it is imported must not be here, such as `prometheus_client`.
"""

THRESHOLD = (50_000, 30, 30)
"""Threshold of the garbage collection of forks, that of `conftest`."""

_PR_SET_PDEATHSIG = 1
_NUMBER = struct.Struct("!i")


@dataclass(frozen=True)
class _Request:
    words: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]


@dataclass(frozen=True)
class _Fork:
    pid: int
    descriptor: int
    client: socket.socket


def _serve(listener: socket.socket) -> _Request:
    """Fork for each request; return only in forks, with what each has to do."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            fork: _Fork | None = key.data
            if fork is None:
                client, _ = listener.accept()
                request = _receive(client)
                if not (pid := os.fork()):
                    for one in [*selector.get_map().values()]:
                        one.fileobj.close() if isinstance(one.fileobj, socket.socket) else os.close(one.fd)
                    client.close()
                    selector.close()
                    return request
                for stream in request.streams:
                    os.close(stream)
                fork = _Fork(pid, os.pidfd_open(pid), client)
                selector.register(fork.descriptor, selectors.EVENT_READ, fork)
                selector.register(client, selectors.EVENT_READ, fork)
                with suppress(BrokenPipeError):
                    client.sendall(_NUMBER.pack(pid))
            elif fork.descriptor in selector.get_map():
                killed = key.fd != fork.descriptor
                if killed:
                    _kill_group(fork.pid)
                _, status = os.waitpid(fork.pid, 0)
                if not killed:
                    with suppress(BrokenPipeError):
                        fork.client.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
                selector.unregister(fork.descriptor)
                selector.unregister(fork.client)
                os.close(fork.descriptor)
                fork.client.close()


def _receive(client: socket.socket) -> _Request:
    begin, streams, _, _ = socket.recv_fds(client, _NUMBER.size, 3)
    (length,) = _NUMBER.unpack(begin)
    words, environment, folder = json.loads(client.recv(length, socket.MSG_WAITALL))
    return _Request(words, environment, folder, streams)


def _kill_group(pid: int) -> None:
    # The fork may not have made its group yet.
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prepare() -> None:
    """Import what commands import, in one thread and without what depends on the environment."""
    for module in _IMPORTED:
        importlib.import_module(module)
    assert "prometheus_client" not in sys.modules
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lack a thread"
    # A collection in a fork would look at all that was imported, and so copy its memory.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)


def _become(request: _Request, python: str) -> NoReturn:
    """Run the command in this process, and end it as the interpreter would."""
    os.setsid()
    _end_with_parent()
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    time.tzset()
    tempfile.tempdir = None
    np.random.seed()
    if "DAF_BUTLER_CONFIG_PATH" in os.environ:
        # The middleware reads it when it is imported.
        StorageClassFactory().reset()
    program, *words = request.words
    if words[:1] == ["-u"] or "PYTHONUNBUFFERED" in os.environ:
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.executable, sys.orig_argv = python, [python, *words]
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = filter(None, paths)
    if words[:1] == ["-u"]:
        del words[0]
    status = 0
    try:
        if Path(program).name != "python":
            sys.argv = [program, *words]
            sys.orig_argv = [python, *sys.argv]
            (entry,) = metadata.entry_points(group="console_scripts", name=Path(program).name)
            sys.exit(entry.load()())
        elif words[0] == "-m":
            sys.argv = words[1:]
            sys.path.insert(0, request.folder)
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        status = 1
    # As the interpreter does at its end, without taking all modules apart.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main(address: str, python: str) -> NoReturn:
    """Serve at an address; in the forks, run the requested command."""
    _end_with_parent()
    # What scripts of this folder would find first is nothing that a command finds.
    sys.path.remove(str(Path(__file__).parent))
    _prepare()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        request = _serve(listener)
    _become(request, python)


if __name__ == "__main__":
    main(*sys.argv[1:])
